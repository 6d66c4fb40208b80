// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// backendRole is c/backend.c in Go: the smallest service. Its argument is how
// many callers it answers on descriptor 3, or "connection". The answer is one
// byte, the eight of CLOCK_MONOTONIC when it began, and the four of its process id.
func backendRole(ctx context.Context, r *role) error {
	now := sys.Monotonic()
	if err := r.need(1); err != nil {
		return err
	}
	answer := binary.NativeEndian.AppendUint64([]byte{'x'}, uint64(now))
	answer = binary.NativeEndian.AppendUint32(answer, uint32(os.Getpid()))
	if r.args[0] == connection {
		_, err := syscall.Write(1, answer)
		return err
	}
	count, err := strconv.Atoi(r.args[0])
	if err != nil {
		return err
	}
	for range count {
		fd, _, err := syscall.Accept(3)
		if err != nil {
			return os.NewSyscallError("accept", err)
		}
		_, _ = syscall.Write(fd, answer) // the caller may be gone
		_ = syscall.Close(fd)
	}
	return nil
}

// connection is what a backend is told, and a definition says, where each caller has a process.
const connection = "connection"

// GoBackend is the command of the smallest service, which takes one argument,
// where there is no C compiler.
func (e *Env) GoBackend() []string { return slices.Concat(e.options.Self, []string{"backend"}) }

// definition is a service that the broker launches.
type definition struct {
	name   string
	accept string
	exec   []string
}

// startLaunching starts a broker that knows definitions.
func (e *Env) startLaunching(ctx context.Context, list []definition) (*Broker, error) {
	folder := filepath.Join(e.Folder, "services"+strconv.Itoa(e.brokers))
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, fmt.Errorf("cannot define services: %w", err)
	}
	for _, d := range list {
		words := make([]string, len(d.exec))
		for i, w := range d.exec {
			words[i] = strconv.Quote(w)
		}
		// GORACE: a test's backend, which has the race detector, must not wait for a second before it ends.
		text := fmt.Sprintf("name = %q\naccept = %q\nexec = [%s]\npass_env = [\"GORACE\"]\n", d.name, d.accept, strings.Join(words, ", "))
		if err := os.WriteFile(filepath.Join(folder, d.name+".toml"), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("cannot define a service: %w", err)
		}
	}
	return e.StartBroker(ctx, "--services", folder)
}
