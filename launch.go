// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/dial"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// LaunchOption says more about the command of [Launch].
type LaunchOption interface{ applyLaunch(*launch) }

// launch is a command on the spot.
type launch struct {
	cmd    *exec.Cmd
	accept string
	notify bool
	ports  []string
}

type launchOption func(*launch)

func (f launchOption) applyLaunch(l *launch) { f(l) }

// LaunchAccept says how the launched program takes its callers: "listener" (the default: it accepts on the socket that
// LISTEN_FDS announces, or with [Listen]), "connection" (each caller gets a process of its own, whose stdin and stdout are the connection),
// "path" (it binds $SWITCHBOARD_SOCKET) or "native" (it calls [Listen]).
func LaunchAccept(kind string) LaunchOption { return launchOption(func(l *launch) { l.accept = kind }) }

// LaunchNotify says that the launched program tells by itself when it is ready: READY=1 to $NOTIFY_SOCKET.
func LaunchNotify() LaunchOption { return launchOption(func(l *launch) { l.notify = true }) }

// LaunchPorts says that the launched program takes no callers, but checks in ports (package mach): these, or by default one with the name
// that is declared. It is for [Client.Declare]; a call of the name is refused.
func LaunchPorts(names ...string) LaunchOption {
	return launchOption(func(l *launch) { l.accept, l.ports = "mach", names })
}

// Launch gives a call the command that has the name started, if nobody has it yet. However many call first, there is one
// process, and it belongs to the broker: it outlives this program, and ends when it was idle for long enough.
//
// Of cmd only Path, Args behind the first, Env and Dir are read. The process gets a clean environment, to which Env adds; a nil Env adds
// nothing. It runs in Dir, else in the folder of [WithScope], else in "/". Path, Args, Env and Dir are what the command is: a name
// that runs something else is refused with an error that says what. Any other field that is set is an error. [WithVersion] selects the version
// that is launched: the first one named in the constraint.
func Launch(cmd *exec.Cmd, opts ...LaunchOption) DialOption {
	l := &launch{cmd: cmd}
	for _, opt := range opts {
		opt.applyLaunch(l)
	}
	return l
}

func (l *launch) applyDial(o *dialOptions) { o.launch = l }

// declaration makes what is told to the broker. An error is a fault of the caller's, or that there is no such program.
func (l *launch) declaration(request *dial.Request) (session.Declare, error) {
	d := session.Declare{Name: request.Name, Version: request.Version, Scope: request.Scope, Accept: l.accept, Notify: l.notify, Ports: l.ports}
	if l.cmd == nil {
		return d, launchFault("there is no command")
	}
	if err := l.cmd.Err; err != nil {
		return d, &Error{Code: CodeUnavailable, Text: fmt.Sprintf("cannot find the command: %v", err), Err: err}
	}
	if field := unusedField(l.cmd); field != "" {
		return d, launchFault("the field %s of the exec.Cmd is set, and nothing of it would reach a process that the broker starts: leave it out", field)
	}
	if d.Dir = l.cmd.Dir; d.Dir != "" {
		d.Dir = absolute(d.Dir)
	}
	path := l.cmd.Path
	switch {
	case path == "":
		return d, launchFault("the exec.Cmd has no Path")
	case !filepath.IsAbs(path) && d.Dir != "":
		path = filepath.Join(d.Dir, path)
	default:
		path = absolute(path)
	}
	d.Exec = []string{path}
	if len(l.cmd.Args) > 1 {
		d.Exec = append(d.Exec, l.cmd.Args[1:]...)
	}
	d.Env = lastValues(l.cmd.Env)
	return d, checkDeclaration(d)
}

func launchFault(format string, args ...any) error {
	return &Error{Code: CodeUsage, Text: "cannot launch: " + fmt.Sprintf(format, args...)}
}

// unusedField names a field that is set, and that a process of the broker's can't have.
func unusedField(cmd *exec.Cmd) string {
	switch {
	case cmd.Stdin != nil:
		return "Stdin"
	case cmd.Stdout != nil:
		return "Stdout"
	case cmd.Stderr != nil:
		return "Stderr"
	case cmd.ExtraFiles != nil:
		return "ExtraFiles"
	case cmd.SysProcAttr != nil:
		return "SysProcAttr"
	case cmd.Process != nil:
		return "Process"
	case cmd.Cancel != nil:
		return "Cancel (of exec.CommandContext)"
	case cmd.WaitDelay != 0:
		return "WaitDelay"
	}
	return ""
}

// lastValues returns env with one value for each variable, the last one, as os/exec has it.
func lastValues(env []string) []string {
	at := make(map[string]int, len(env))
	var kept []string
	for _, variable := range env {
		key, _, _ := strings.Cut(variable, "=")
		if i, ok := at[key]; ok {
			kept[i] = variable
			continue
		}
		at[key] = len(kept)
		kept = append(kept, variable)
	}
	return kept
}

// checkDeclaration refuses what the wire can't carry, or would change. The rest is the broker's to check.
func checkDeclaration(d session.Declare) error {
	for _, word := range slices.Concat([]string{d.Dir}, d.Exec, d.Env, d.Ports) {
		if !utf8.ValidString(word) || strings.ContainsRune(word, 0) {
			return launchFault("%q is not UTF-8, or has a zero byte", word)
		}
	}
	for _, variable := range d.Env {
		if key, _, ok := strings.Cut(variable, "="); !ok || key == "" {
			return launchFault("%q in Env is not of the form NAME=VALUE", variable)
		}
	}
	if size := len(d.Append(nil)); size > session.MaxPacket-session.HeaderSize {
		return launchFault("the command with its environment has %d bytes, more than %d", size, session.MaxPacket-session.HeaderSize)
	}
	return nil
}

// declared is a command on the spot that the broker knows, as long as a call lasts.
type declared struct {
	session *clientSession
	message session.Declare
}

// declare tells the broker what a name is started with.
func (c *Client) declare(ctx context.Context, l *launch, request *dial.Request) (*declared, error) {
	m, err := l.declaration(request)
	if err != nil {
		return nil, err
	}
	d := &declared{c.session, m}
	return d, c.session.obtain(ctx, d)
}

// release gives the declaration back. Nobody waits for that: what is still to be told is told before the next change.
func (d *declared) release() {
	if d.session.drop(d) {
		d.session.client.run(d.session.returnOrphans)
	}
}

func (d *declared) request() *call { return newCall(session.OpDeclare, d.message.Append) }

func (d *declared) granted(payload []byte, _ *sys.Buffer) (uint64, error) {
	m, err := session.ParseDeclareReply(payload)
	switch {
	case err != nil:
		return 0, err
	case m.Code != session.OK:
		return 0, refusal(m.Code, m.Text)
	}
	return m.Lease, nil
}

func (d *declared) lost(error) {} // the call says what came of it
