// SPDX-License-Identifier: Apache-2.0

package execshim

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/launch/order"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

const (
	exitUsage     = 64  // not started by a broker
	exitNoOrder   = 75  // the broker ended before it said what to run
	exitCannotRun = 126 // as shells do
	exitNotFound  = 127
)

// become waits for the order and carries it out. Until it has come this process has touched nothing.
func become() {
	runtime.LockOSThread() // credentials and the signal mask are the thread's
	// A broker that has gone must not end this process by a signal: its report is lost, which is all.
	b, err := sys.WaitPacket(order.ControlFD)
	if err != nil {
		os.Stderr.WriteString("switchboard-exec: only a broker starts this: descriptor 3 is not its socket\n")
		os.Exit(exitUsage)
	}
	if b == nil {
		os.Exit(exitNoOrder)
	}
	o, err := order.Parse(b)
	if err != nil {
		fail(order.ControlFD, order.StageOrder, err.Error(), 0)
	}
	carryOut(o)
}

func carryOut(o order.Order) {
	control := order.ControlFD
	if o.UID >= 0 || o.GID >= 0 {
		if o.Groups == nil {
			o.Groups = []int{}
		}
		if err := sys.SetCredentials(o.UID, o.GID, o.Groups); err != nil {
			fail(control, order.StageCredentials, "user "+strconv.Itoa(o.UID)+", group "+strconv.Itoa(o.GID), errno(err))
		}
	}
	syscall.Umask(0o022)
	if err := syscall.Chdir(o.Dir); err != nil {
		fail(control, order.StageFolder, o.Dir, errno(err))
	}
	program := o.Argv[0]
	if err := sys.CheckExecutable(program); err != nil {
		fail(control, order.StageProgram, program, errno(err))
	}
	env := o.Env
	first := 3 // the first descriptor that the backend does not get
	switch o.Accept {
	case order.Listener:
		var err error
		if err = sys.SetNonblock(order.ListenFD, false); err == nil {
			err = sys.Relisten(order.ListenFD, o.Backlog)
		}
		if err != nil {
			fail(control, order.StageSocket, "listen", errno(err))
		}
		if control, err = sys.DupAbove(control, order.ListenFD+1); err == nil {
			err = sys.DupTo(order.ListenFD, 3)
		}
		if err != nil {
			fail(control, order.StageSocket, "its number", errno(err))
		}
		first = 4
		report(control, order.Report{Kind: order.Listening})
		env = append(env, "LISTEN_PID="+strconv.Itoa(os.Getpid()), "LISTEN_FDS=1",
			"LISTEN_FDNAMES="+strings.ReplaceAll(o.Name, ":", "_"))
	case order.Connection:
		// Once the caller has read OK, nobody can tell it any more that the program cannot run.
		if what, e := checkInterpreters(program); e != 0 {
			fail(control, order.StageProgram, what, e)
		}
		report(control, order.Report{Kind: order.Taken})
		if err := sys.SetNonblock(0, false); err != nil {
			fail(control, order.StageSocket, "the connection", errno(err))
		}
		// The queue of a fresh connection has room. A caller that has gone is the program's to find out.
		_, _ = sys.Send(0, o.Preamble)
	}
	if err := sys.CloseOnExecFrom(first); err != nil {
		fail(control, order.StageSocket, "close_range", errno(err))
	}
	sys.ResetSignals()
	err := syscall.Exec(program, o.Argv, env)
	fail(control, order.StageExec, program, errno(err))
}

func report(control int, r order.Report) {
	_, _ = sys.Send(control, r.Append(nil)) // a broker that has gone reads nothing
}

func fail(control int, stage, what string, e syscall.Errno) {
	report(control, order.Report{Kind: order.Failed, Stage: stage, Errno: e, What: what})
	if e == syscall.ENOENT && (stage == order.StageProgram || stage == order.StageExec) {
		os.Exit(exitNotFound)
	}
	os.Exit(exitCannotRun)
}

// errno finds the kernel's error in what internal/sys returns.
func errno(err error) syscall.Errno {
	if e, ok := err.(*os.SyscallError); ok {
		err = e.Err
	}
	e, _ := err.(syscall.Errno)
	return e
}
