// SPDX-License-Identifier: Apache-2.0

package mach

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	wire "github.com/switchboard-ipc/switchboard/protocol/mach"
)

// Socket is the name of the socket in the runtime folder.
const Socket = "bootstrap.sock"

// Options say how Connect finds the broker. The zero value is what a program wants that was started by somebody else: the descriptor
// that [switchboard.EnvBootstrapFD] numbers, else the path in [switchboard.EnvBootstrap], else the runtime folder.
type Options struct {
	// Port is a bootstrap port, as Subset, Parent and Root return it. It stays the caller's. Connect does not wait for an answer, so
	// a port of another kind shows at the first call: that fails at its context's end, or after 10 seconds.
	Port *SendRight
	// RuntimeDir is the folder of the broker's sockets.
	RuntimeDir string
	// NoAutostart: start no broker. So does SWITCHBOARD_AUTOSTART=0 in the environment.
	NoAutostart bool
	// Binary is the program to start a broker with; see [switchboard.Config].
	Binary string
}

// patience bounds attempts to reach a broker where the context has no deadline.
const patience = 10 * time.Second

// Connect opens a connection of this program's own to the bootstrap server. If no broker runs it starts one, as [switchboard.Dial]
// does, except where it was given a port or a descriptor. What is checked in and registered through it ends with it.
func Connect(ctx context.Context, o Options) (*Bootstrap, error) {
	fd, through, err := o.connect(ctx)
	if err != nil {
		return nil, during("reach the bootstrap server", "", err)
	}
	b, err := newBootstrap(fd)
	if err == nil {
		b.through = through
	}
	return b, err
}

// connect also tells whether the connection goes through a port.
func (o Options) connect(ctx context.Context) (fd *sys.FD, through bool, err error) {
	number, numbered := os.LookupEnv(switchboard.EnvBootstrapFD)
	switch {
	case o.Port != nil:
		port, err := o.Port.end.enter()
		if err != nil {
			return nil, false, err
		}
		defer o.Port.end.leave()
		fd, err = pass(ctx, o.Port.end, port, "the bootstrap port")
		return fd, true, err
	case o.RuntimeDir == "" && numbered:
		fd, err = inherited(ctx, number)
		return fd, true, err
	}
	fd, err = o.byPath(ctx)
	return fd, false, err
}

func (o Options) byPath(ctx context.Context) (*sys.FD, error) {
	if o.RuntimeDir != "" {
		return o.path(ctx, filepath.Join(o.RuntimeDir, Socket), switchboard.Config{RuntimeDir: o.RuntimeDir})
	}
	if path := os.Getenv(switchboard.EnvBootstrap); path != "" {
		return o.told(ctx, path)
	}
	var config switchboard.Config
	if _, ok := os.LookupEnv(switchboard.EnvSessionFD); ok { // which leads elsewhere than to the folder
		config.RuntimeDir = switchboard.RuntimeDir()
	}
	return o.path(ctx, filepath.Join(switchboard.RuntimeDir(), Socket), config)
}

// told connects to the path in the environment.
func (o Options) told(ctx context.Context, path string) (*sys.FD, error) {
	fd, err := o.path(ctx, path, switchboard.Config{RuntimeDir: filepath.Dir(path)})
	if err == nil {
		return fd, nil
	}
	var e *Error
	code, text := Failure, err.Error()
	if errors.As(err, &e) {
		if code, text = e.Code, e.Text; text == "" {
			text = e.Err.Error()
		}
	}
	text, _, _ = strings.Cut(text, "; choose another") // which is advice for people at the command line
	return nil, &Error{Code: code, Op: "reach the bootstrap server at " + switchboard.EnvBootstrap, Name: path, Err: err,
		Text: text + "; unset the variable to use the runtime folder"}
}

func inherited(ctx context.Context, number string) (*sys.FD, error) {
	port, err := strconv.Atoi(number)
	text := ""
	if err != nil || port < 0 {
		text = "that is not the number of a descriptor; unset the variable to use the runtime folder"
	} else if _, err = sys.CheckSocket(port, sys.Seqpacket); err != nil {
		text = err.Error() + ": it was closed, or not passed on to this program; unset the variable to use the runtime folder"
	}
	if text != "" {
		return nil, &Error{Code: InvalidRight, Op: fmt.Sprintf("reach the bootstrap server through %s=%q", switchboard.EnvBootstrapFD, number),
			Text: text, Err: err}
	}
	at := newEnd(sys.NewFD(-1)) // the number is not ours to close
	defer at.end(ErrClosed)
	return pass(ctx, at, port, switchboard.EnvBootstrapFD+"="+number)
}

// pass makes a pair and sends one end of it through a bootstrap port. Who waits for room there does so at an end, which may be
// another's.
func pass(ctx context.Context, at *end, port int, name string) (*sys.FD, error) {
	ours, theirs, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	packet, err := wire.Request{Routine: wire.Connect, Right: wire.Right{Fd: 1, Disposition: wire.MoveSend}}.Append(nil)
	if err == nil {
		err = transmit(ctx, at, port, packet, []int{theirs.Int()})
	}
	if err == nil {
		return ours, nil
	}
	ours.Close()
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		err = &Error{Code: ServerDied, Op: "reach the bootstrap server through", Name: name, Err: err,
			Text: "the port is closed: its namespace, or the broker, has ended"}
	}
	return nil, err
}

// path connects to the socket at a path; config is for who starts a broker there.
func (o Options) path(ctx context.Context, path string, config switchboard.Config) (*sys.FD, error) {
	if _, ok := ctx.Deadline(); !ok {
		limited, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		ctx = limited
	}
	for started := false; ; {
		fd, err := sys.Connect(path, sys.Seqpacket, false)
		if err == nil {
			if err = checkServer(fd, path, config); err != nil {
				fd.Close()
				return nil, err
			}
			return fd, nil
		}
		absent := errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
		switch {
		case absent && filepath.Base(path) != Socket: // no broker that would be started has its socket there
			return nil, &Error{Code: Failure, Op: "reach the bootstrap server at", Name: path, Err: err}
		case absent && !started:
			started = true
			if err := o.start(ctx, config); err != nil {
				return nil, err
			}
			continue
		case absent && errors.Is(err, os.ErrNotExist):
			return nil, &Error{Code: Failure, Op: "reach the bootstrap server at", Name: path, Err: err,
				Text: "a broker runs there, and serves no Mach messages: it is older than this program; switchboard shutdown ends it"}
		case !absent && !errors.Is(err, syscall.EAGAIN):
			return nil, &Error{Code: Failure, Op: "reach the bootstrap server at", Name: path, Err: err}
		}
		if perr := pause(ctx, shortage); perr != nil {
			text := fmt.Sprintf("%v; the attempt before: %v", perr, err)
			return nil, &Error{Code: Failure, Op: "reach the bootstrap server at", Name: path, Err: perr, Text: text}
		}
	}
}

// start makes sure that a broker runs.
func (o Options) start(ctx context.Context, config switchboard.Config) error {
	config.NoAutostart, config.Binary = o.NoAutostart, o.Binary
	c := switchboard.New(config)
	defer c.Close()
	_, err := c.Status(ctx)
	if err != nil {
		return &Error{Code: Failure, Op: "reach the bootstrap server of", Name: config.RuntimeDir, Err: err}
	}
	return nil
}

// checkServer makes sure that who listens is this user's broker, or root's: a folder that somebody else made leads to somebody else. Root
// may be told of any.
func checkServer(fd *sys.FD, path string, config switchboard.Config) error {
	cred, err := sys.PeerCred(fd.Int())
	uid := os.Geteuid()
	switch {
	case err != nil:
		return err
	case cred.UID == uid, cred.UID == 0, uid == 0 && config.RuntimeDir != "":
		return nil
	}
	return &Error{Code: NotPrivileged, Op: "use the bootstrap server at", Name: path,
		Text: fmt.Sprintf("it is run by user %d, and you are user %d", cred.UID, uid)}
}
