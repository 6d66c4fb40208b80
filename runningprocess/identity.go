// SPDX-License-Identifier: Apache-2.0

package runningprocess

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/exehash"
	"github.com/switchboard-ipc/switchboard/internal/host"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// identity is what this process tells those who probe it (section 9). What is in it is there once done is closed.
type identity struct {
	done    chan struct{}
	process envelope.DaemonProcess
	sha256  [32]byte
	err     error
}

// know finds it out in the background: a large program takes a while to hash, and listening must not wait for that. Clients may have all
// descriptors meanwhile: then it waits for one, until closed.
func know(endpoint envelope.Endpoint, started time.Time, closed <-chan struct{}) *identity {
	id := &identity{done: make(chan struct{})}
	id.process = envelope.DaemonProcess{
		PID: uint32(os.Getpid()), IPCEndpoint: &endpoint, StartedAtUnixMS: uint64(started.UnixMilli()), ExeHashAlgorithm: envelope.HashAlgorithm,
	}
	go func() {
		defer close(id.done)
		err := id.find()
		for isTemporary(err) {
			select {
			case <-time.After(acceptPause):
			case <-closed:
				id.err = net.ErrClosed
				return
			}
			err = id.find()
		}
		if err != nil {
			id.err = fmt.Errorf("runningprocess: cannot find out what this program is, and so the broker cannot: %w", err)
		}
	}()
	return id
}

func (id *identity) find() error {
	boot, err := host.BootID()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	image := program
	if runtime.GOOS == "linux" {
		image = "/proc/self/exe" // what runs, even where its path has another program by now
	}
	var hasher exehash.Hasher
	sum, sha256, err := hasher.Hash(image)
	if err != nil {
		return err
	}
	id.process.BootID, id.process.ExePath = boot, program
	id.process.ExeHash, id.sha256 = sum[:], sha256
	return nil
}

// ProbeReply returns the answer to a frame whose PayloadProtocol is envelope.Probe
// (section 9). The Listener answers probes by itself; this is for programs that let
// them come later on a connection as well. It waits until the program's hash is
// known. Errors: what is wrong with the frame, and net.ErrClosed.
func (l *Listener) ProbeReply(f envelope.Frame) (envelope.Frame, error) {
	select {
	case <-l.identity.done:
	case <-l.closed:
		return envelope.Frame{}, net.ErrClosed
	}
	if l.identity.err != nil {
		return envelope.Frame{}, l.identity.err
	}
	return envelope.ProbeReply(f, l.identity.process, l.identity.sha256)
}
