// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"log/slog"
	"os"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// Config is what a broker needs. The zero value of a field is its default.
type Config struct {
	RuntimeDir string        // the folder of its sockets; "" is switchboard.RuntimeDir()
	Listeners  *Listeners    // sockets that somebody bound already (socket activation); nil: the broker binds them itself
	IdleExit   time.Duration // ends after this long without a lease; 0: never
	Limits     Limits
	Version    string       // told to clients; "" is the module's version
	Logger     *slog.Logger // nil: nothing is logged
	Ready      func()       // called once when every socket can be connected to

	// RunningProcess are the addresses at which clients of the running-process broker v1 are served: paths of sockets, or Auto. Their
	// frames work on broker.sock, too.
	RunningProcess []string

	// Services are more folders with definitions of services, searched before the user's and the machine's.
	Services []string
	// Allow are the verbs that the fronts serve only where they are allowed: AllowLaunch.
	Allow []string
	Mach  Mach

	// Shim is a program whose main calls execshim.Run, such as the switchboard command: services are launched through it. "" is this
	// program, if it called execshim.Run; without either nothing can be launched.
	Shim string
	// Subreaper says that this process is the broker's alone: orphans of services become its children, and it reaps every child.
	Subreaper bool
}

// AllowLaunch lets Mach messages start programs, for the broker's own user and who is as free as the broker is.
const AllowLaunch = "launch"

// Mach is what can be set of the front for Mach messages.
type Mach struct {
	ShortCheckIn bool // the newer check_in, too, is answered with 40 bytes, as clients of launchd-329 expect
	// ReturnTimeout is how long a declared port waits for the processes of its former owner before it is reset; 0: 5 s.
	ReturnTimeout time.Duration
}

// Listeners are the broker's listening sockets: session and broker must be there. The broker owns and closes them, and does not unlink their
// paths.
type Listeners struct {
	Session *os.File // session.sock, SEQPACKET
	Broker  *os.File // broker.sock, STREAM

	Bootstrap *os.File // bootstrap.sock, SEQPACKET; nil: the broker binds it itself, if it can
}

// Limits bound what peers can make the broker hold. 0 is the default.
type Limits struct {
	NamesPerSession   int           // leases of one session: 1,024
	WatchesPerSession int           // 64
	WaitingCallers    int           // callers that wait for one service: 1,024
	TakeOver          time.Duration // how long a caller waits for its connection to be taken over: 2 s
}

func (l Limits) directory() directory.Limits {
	return directory.Limits{NamesPerSession: l.NamesPerSession, WatchesPerSession: l.WatchesPerSession, Waiting: l.WaitingCallers, TakeOver: int64(l.TakeOver)}
}

const (
	backlog         = 4096
	requestDeadline = 10 * time.Second       // for the line on broker.sock
	reserve         = 64                     // descriptors kept free: with fewer left, newcomers are told to try again
	halfTime        = 200 * time.Millisecond // for requests that are half there when the broker ends
	drainTime       = 5 * time.Second        // for callers that still wait when the broker ends
)
