// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/admin"
	"github.com/switchboard-ipc/switchboard/internal/admission"
	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/host"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/internal/unixconn"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
	"github.com/switchboard-ipc/switchboard/runningprocess"
)

// A backend by a definition of the running-process broker may adopt the listener that it inherits, or bind its path itself: nobody
// knows before. So the listener is bound beside the path, which stays free. Whichever answers an identity probe first is used: the listener
// then gets the path.

// listenerFD is the number of the inherited listener, see the exec shim.
const listenerFD = "3"

// bindProbed gives a backend its path, and binds the listener that it may adopt. The lock is held.
func (b *Broker) bindProbed(be *backend) error {
	var random [16]byte
	rand.Read(random[:])
	bare, err := envelope.BackendName(b.hash16, random)
	if err != nil {
		return err
	}
	folder := b.sockets16
	if len(folder)+len(bare)+len("/.sock") > maxSocketPath {
		folder = socketFolder("") // where any client can connect
	}
	if err := privateFolder(folder, b.uid); err != nil {
		return fmt.Errorf("its socket has no folder: %w", err)
	}
	be.path = filepath.Join(folder, bare+".sock")
	if os.Getenv("RUNNING_PROCESS_BROKER_OWNED_BIND") == "0" {
		return nil
	}
	be.aside = be.path + asideSuffix
	be.connection, err = sys.Listen(be.aside, sys.Stream, backlog)
	return err
}

// asideSuffix is what the listener is called by, behind the path, until it is adopted.
const asideSuffix = ".new"

// handoffPath is where the backend at a path takes handoffs.
func handoffPath(path string) string {
	dir, file := filepath.Split(strings.TrimSuffix(path, oldSuffix))
	return dir + strings.Replace(file, "-be-", "-ho-", 1)
}

// probedEnvironment is what the original tells a backend (section 8).
func (b *Broker) probedEnvironment(be *backend) []string {
	env := []string{
		"RUNNING_PROCESS_BROKER_V1_BACKEND_PIPE=" + be.path,
		"RUNNING_PROCESS_BROKER_V1_HANDOFF_PIPE=" + handoffPath(be.path),
	}
	if be.aside != "" {
		env = append(env, "RUNNING_PROCESS_BROKER_LISTENER_FD="+listenerFD)
	}
	for i, name := range []string{"TRACEPARENT", "TRACESTATE"} {
		if fitsEnvironment(be.trace[i]) {
			env = append(env, "RUNNING_PROCESS_BROKER_V1_"+name+"="+be.trace[i])
		}
	}
	return env
}

// fitsEnvironment reports whether what a client says can be told to its backend: a fault in it must not be a fault of the service.
func fitsEnvironment(s string) bool {
	return s != "" && len(s) <= 1024 && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// awaitProbed waits until a backend answers a probe as itself, and has it be ready then. The directory ends the wait.
func (b *Broker) awaitProbed(be *backend) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(be.definition.Start))
	defer cancel()
	b.mu.Lock()
	at := entrances{strings.TrimSuffix(be.path, oldSuffix), be.aside}
	b.mu.Unlock()
	want, err := b.identity(be, at.path)
	if err == nil {
		err = b.probeBoth(ctx, be, at, want)
	}
	b.mu.Lock()
	defer b.finishSlices()
	defer b.mu.Unlock()
	var identity *identityError
	switch {
	case be.ended:
	case errors.As(err, &identity):
		be.failure = "did not answer its probe as itself: " + identity.Error()
		_ = be.process.Signal(syscall.SIGKILL)
	case err != nil: // its time is over, of which the directory knows
		b.log.Debug("a backend was not probed", "name", be.key.Name, "err", err)
	default:
		be.listens = true
		b.metrics.SpawnAttempt(be.key.Name, be.key.Version, admin.SpawnReady)
		b.note(be, envelope.EventSpawn, "")
		if ok, err := sys.ListeningAt(handoffPath(at.path)); err == nil {
			be.takesHandoffs = ok
		}
		b.linkNewest(be.key.Name)
		b.applyLocked(directory.Ready{Backend: be.id, Now: b.now()})
		b.poller.Wake()
	}
}

// identityError is an answer to a probe by somebody else than the process that was launched.
type identityError struct{ err error }

func (e *identityError) Error() string { return e.err.Error() }

// entrances are where a backend may listen.
type entrances struct{ path, aside string }

// probeBoth probes the listener and the path until one answers.
func (b *Broker) probeBoth(ctx context.Context, be *backend, at entrances, want envelope.DaemonProcess) error {
	adopted := make(chan error, 1)
	if at.aside != "" {
		probing, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() { adopted <- probeUntil(probing, at.aside, want) }()
	}
	for attempt := 0; ; attempt++ {
		wait := time.NewTimer(probePause(attempt))
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case err := <-adopted:
			wait.Stop()
			if err == nil {
				return at.move()
			}
			return err
		case <-wait.C:
		}
		if b.over(be) {
			return errors.New("it has ended")
		}
		if ok, err := sys.ListeningAt(at.path); err != nil || !ok {
			continue
		}
		err := probe(ctx, at.path, want)
		var identity *identityError
		if err == nil || errors.As(err, &identity) {
			if err == nil && at.aside != "" {
				os.Remove(at.aside)
			}
			return err
		}
	}
}

// probeUntil probes a listener until somebody answers: one connection that is lost says nothing.
func probeUntil(ctx context.Context, path string, want envelope.DaemonProcess) error {
	for attempt := 0; ; attempt++ {
		err := probe(ctx, path, want)
		var identity *identityError
		if err == nil || errors.As(err, &identity) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(probePause(attempt)):
		}
	}
}

func (b *Broker) over(be *backend) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return be.ended || be.stopped
}

// move gives the listener that a backend has adopted its path.
func (at entrances) move() error {
	if _, err := os.Lstat(at.path); !errors.Is(err, fs.ErrNotExist) {
		return &identityError{fmt.Errorf("it listens at the socket that it was given, and something else is at %s", at.path)}
	}
	return os.Rename(at.aside, at.path)
}

// probePause is how long to wait between two looks: shorter than the original's at first, its own (section 8) then.
func probePause(attempt int) time.Duration {
	quick := []time.Duration{2, 4, 8, 16, 32}
	if attempt < len(quick) {
		return quick[attempt] * time.Millisecond
	}
	return time.Duration(admission.ReadyBackoff(attempt-len(quick))) * time.Millisecond
}

// identity is what a backend must say that it is.
func (b *Broker) identity(be *backend, path string) (envelope.DaemonProcess, error) {
	program := be.definition.Run.Argv[0]
	sum, err := hex.DecodeString(be.definition.Hash) // as it was launched: the file may be another by now
	if err != nil {
		return envelope.DaemonProcess{}, err
	}
	boot, err := host.BootID()
	if err != nil {
		return envelope.DaemonProcess{}, err
	}
	namespace := ""
	for _, kv := range be.definition.Run.Env {
		if value, ok := strings.CutPrefix(kv, "RUNNING_PROCESS_BROKER_V1_BACKEND_NAMESPACE="); ok {
			namespace = value
		}
	}
	return envelope.DaemonProcess{
		PID: uint32(be.process.PID), ExePath: program, BootID: boot,
		IPCEndpoint: &envelope.Endpoint{NamespaceID: namespace, Path: path}, ExeHashAlgorithm: "blake3", ExeHash: sum,
	}, nil
}

// probeTimeout is for one attempt: a connection that is accepted and forgotten must not be waited for to the end.
const probeTimeout = 2 * time.Second

// probe asks who listens at path (section 9). An answer by somebody else is an *identityError.
func probe(ctx context.Context, path string, want envelope.DaemonProcess) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	fd, err := sys.Connect(path, sys.Stream, false)
	if err != nil {
		return err
	}
	conn, err := unixconn.Of(fd)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var nonce [32]byte
	rand.Read(nonce[:])
	if _, err := conn.Write(envelope.ProbeRequest(nonce).AppendFramed(nil)); err != nil {
		return err
	}
	frame, err := runningprocess.ReadFrame(conn, maxReply)
	if err != nil {
		return err
	}
	if err := envelope.CheckProbeReply(frame, nonce, want); err != nil {
		return &identityError{err}
	}
	return nil
}

// maxReply bounds what a backend may answer.
const maxReply = 1 << 20
