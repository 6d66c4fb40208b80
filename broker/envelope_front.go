// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/admin"
	"github.com/switchboard-ipc/switchboard/internal/admission"
	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/exehash"
	"github.com/switchboard-ipc/switchboard/internal/host"
	"github.com/switchboard-ipc/switchboard/internal/servedef"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// Auto, as an address of Config.RunningProcess, is the one that all clients of the running-process broker know: the shared address of
// section 6.1 of its protocol. It is not served if it cannot be, or somebody else serves it.
const Auto = "auto"

// envelopeFront is the state of the front of the running-process broker: docs/running-process.md.
type envelopeFront struct {
	hash16        string // of this user on this machine
	sockets16     string // the folder of its sockets and its backends'
	servedefs     string // the folder of its definitions
	frameDeadline time.Duration
	hasher        exehash.Hasher
	warm          warmServices
	metrics       *admin.Store
	rate          admission.HelloRate // guarded by the broker's lock

	connections atomic.Int64 // that its clients have open

	demoted atomic.Bool // descriptors are short

	// Of the loop.
	pressure     admission.Pressure
	largeFrames  int
	scarceFrames []*caller // that were accepted while descriptors were short, the oldest first

	// Guarded by the broker's lock.
	traces       map[directory.Key][2]string // traceparent and tracestate of who calls, for what is launched by that
	connectionID uint64
	passing      map[directory.ID]*backend // that are to acknowledge a handoff
	lifecycle    lifecycle
	addresses    map[string]sys.SocketFile // that are served
}

// prepareEnvelopes makes what the front needs, before backends are found again that are its own.
func (b *Broker) prepareEnvelopes() {
	home, _ := os.UserHomeDir()
	b.servedefs = servedef.Folder(os.Getenv, home, runtime.GOOS)
	b.frameDeadline = helloTimeout(os.Getenv)
	b.metrics = admin.NewStore()
	b.addresses = make(map[string]sys.SocketFile)
	b.traces = make(map[directory.Key][2]string)
	b.passing = make(map[directory.ID]*backend)
	b.sockets16 = socketFolder(host.RuntimeDir())
}

// openEnvelopes binds the addresses of the front.
func (b *Broker) openEnvelopes() error {
	machine, err := host.MachineID()
	if err == nil {
		b.hash16 = envelope.Hash16(envelope.Identity(uint32(os.Getuid()), machine))
	}
	if len(b.config.RunningProcess) > 0 {
		b.sweepAddresses()
	}
	for _, address := range b.config.RunningProcess {
		path := address
		if address == Auto {
			if err != nil {
				b.log.Warn("the shared address of running-process is not served", "err", err)
				continue
			}
			bare, nameErr := envelope.SharedName(b.hash16)
			if nameErr != nil {
				return nameErr
			}
			path = filepath.Join(b.sockets16, bare+".sock")
		}
		if err := b.serveAddress(path); err != nil {
			if address != Auto {
				return fmt.Errorf("cannot serve clients of running-process at %s: %w", path, err)
			}
			var running *RunningError
			if errors.As(err, &running) {
				b.log.Info("somebody else serves the shared address of running-process", "path", path, "pid", running.PID)
			} else {
				b.log.Warn("the shared address of running-process is not served", "path", path, "err", err)
			}
		}
	}
	return nil
}

// socketFolder is where the original has its sockets (section 6.1), for a runtime folder or ("") without one.
func socketFolder(runtimeDir string) string {
	return filepath.Clean(envelope.LinuxFolder(runtimeDir, uint32(os.Getuid())))
}

// privateFolder makes a folder and the one above it, and says why they cannot be trusted: each must be this user's own and no link, the
// folder of mode 0700, the one above writable by nobody else.
func privateFolder(path string, uid int) error {
	above := filepath.Dir(path)
	if err := os.MkdirAll(filepath.Dir(above), 0o700); err != nil {
		return err
	}
	for _, p := range []string{above, path} {
		if err := os.Mkdir(p, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		info, err := os.Lstat(p)
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case p == above && filepath.Base(path) != "broker": // an address of the user's choice
		case !info.IsDir():
			return fmt.Errorf("%s is no folder", p)
		case !ok || int(st.Uid) != uid:
			return fmt.Errorf("%s belongs to somebody else", p)
		case p == path && info.Mode().Perm() != 0o700:
			return fmt.Errorf("%s has mode %04o instead of 0700", p, info.Mode().Perm())
		case info.Mode().Perm()&0o022 != 0:
			return fmt.Errorf("%s may be written by others (mode %04o)", p, info.Mode().Perm())
		}
	}
	return nil
}

// serveAddress listens at an address of the original's. A stale socket there is replaced, under a lock of the folder; a live one never.
func (b *Broker) serveAddress(path string) error {
	dir := filepath.Dir(path)
	if err := privateFolder(dir, b.uid); err != nil {
		return err
	}
	lock, err := lockAddresses(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	fd, err := sys.Listen(path, sys.Stream, backlog)
	if errors.Is(err, syscall.EADDRINUSE) {
		c, connectErr := sys.Connect(path, sys.Stream, false)
		if connectErr == nil {
			cred, _ := sys.PeerCred(c.Int())
			c.Close()
			return &RunningError{dir, cred.PID}
		}
		if !errors.Is(connectErr, syscall.ECONNREFUSED) {
			return fmt.Errorf("cannot replace it: %w", connectErr)
		}
		// A file that is no socket refuses connections as well.
		if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
			return fmt.Errorf("%s is no socket, and is left as it is", path)
		}
		b.addFormer(path)
		if err := os.Remove(path); err != nil {
			return err
		}
		fd, err = sys.Listen(path, sys.Stream, backlog)
	}
	if err != nil {
		return err
	}
	if b.addresses[path], err = sys.StatSocket(path); err != nil {
		return err
	}
	return b.watch(&descriptor{id: b.table.id(), kind: envelopeListener, fd: fd, path: path})
}

// unlinkAddress removes an address at the end, if it is still this broker's.
func (b *Broker) unlinkAddress(path string) {
	if f, err := sys.StatSocket(path); err == nil && f == b.addresses[path] {
		os.Remove(path)
	}
}

func lockAddresses(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := sys.Lock(int(f.Fd()), true); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sweepAddresses removes what backends of brokers that crashed left in the folders of sockets.
func (b *Broker) sweepAddresses() {
	for _, folder := range []string{b.sockets16, socketFolder("")} {
		if _, err := os.Lstat(folder); err == nil && b.hash16 != "" && privateFolder(folder, b.uid) == nil {
			b.sweepAddressesIn(folder)
		}
	}
}

func (b *Broker) sweepAddressesIn(folder string) {
	lock, err := lockAddresses(folder)
	if err != nil {
		return
	}
	defer lock.Close()
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		name, ours := strings.CutPrefix(e.Name(), "rpb-v1-"+b.hash16)
		path := filepath.Join(folder, e.Name())
		if !ours || e.Type()&fs.ModeSocket == 0 || !strings.HasPrefix(name, "-be-") && !strings.HasPrefix(name, "-ho-") {
			continue
		}
		if listening, err := sys.ListeningAt(path); err == nil && !listening {
			os.Remove(path)
		}
	}
}
