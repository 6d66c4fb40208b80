// SPDX-License-Identifier: Apache-2.0

package runningprocess

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/host"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/internal/unixconn"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// DefaultBroker returns the address of the user's shared broker (section 6.1). It may
// be longer than an address of a socket can be, which Dial can do with. A relative
// XDG_RUNTIME_DIR counts as none.
func DefaultBroker() (string, error) {
	if runtime.GOOS != "linux" {
		return "", fmt.Errorf("runningprocess: the address of the broker is known on Linux only: set Request.Broker: %w", errors.ErrUnsupported)
	}
	machine, err := host.MachineID()
	if err != nil {
		return "", fmt.Errorf("runningprocess: the address of the broker cannot be told: %w", err)
	}
	bare, err := envelope.SharedName(envelope.Hash16(envelope.Identity(uint32(os.Getuid()), machine)))
	if err != nil {
		return "", err
	}
	return filepath.Join(envelope.LinuxFolder(host.RuntimeDir(), uint32(os.Getuid())), bare+".sock"), nil
}

// connect connects to a path of any length. It waits for room in the listener's queue.
func connect(ctx context.Context, path string) (*net.UnixConn, error) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-pause.C:
		}
		fd, err := sys.Connect(path, sys.Stream, false)
		if errors.Is(err, syscall.EAGAIN) {
			pause.Reset(wait)
			continue
		}
		if err != nil {
			return nil, err
		}
		return unixconn.Of(fd)
	}
}

// checkPeer says why the other end is no broker of ours: it is another user's, who may have been first in a folder that all may write
// to. Root is trusted, as it is anyway.
func checkPeer(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var who sys.Cred
	var asked error
	if err := raw.Control(func(fd uintptr) { who, asked = sys.PeerCred(int(fd)) }); err != nil {
		return err
	}
	if asked == nil && who.UID != os.Geteuid() && who.UID != 0 {
		return fmt.Errorf("it is of user %d, and this process of user %d", who.UID, os.Geteuid())
	}
	return asked
}
