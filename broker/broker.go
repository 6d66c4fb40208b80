// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/launch"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// Broker is one broker of one runtime folder. Make it with New, run it with Serve, once.
type Broker struct {
	config   Config
	log      *slog.Logger
	folder   *folder
	instance [16]byte
	uid      int
	overflow int // the uid that stands for users who are not mapped here
	started  time.Time
	epoch    int64 // CLOCK_MONOTONIC at started
	maxFD    int   // descriptors beyond this one are the reserve
	poller   *sys.Poller
	index    *index
	packets  sync.Pool // *sys.Buffer

	// mu guards the directory and the table. Its holder applies one event and carries out its actions; nothing that
	// can block happens under it.
	mu            sync.Mutex
	directory     *directory.Directory
	table         *table
	undone        []directory.Event // what carrying out actions brought about, to be applied after them
	wakeAt        int64             // when the loop will look at deadlines by itself
	retry         []directory.ID    // sessions to which a hand-over failed for want of descriptors
	retryAt       int64
	sessionsNoted int    // opened or ended since memory was trimmed
	trimAt        int64  // when it will be
	busyAt        int64  // when a lease was last held
	ending        string // why no newcomer is accepted, or ""
	drainUntil    int64  // at the end: how long callers may still wait
	stop          bool   // the loop ends

	sessions              sync.WaitGroup // their goroutines
	handedNow, handedLive int            // connections taken since they were compared with the kernel's list; those it had then
	comparing             atomic.Bool

	backends  map[directory.ID]*backend
	instances map[string]directory.ID // of living backends
	sockets   map[directory.Key]*socket
	keep      bool // backends are left running at the end
	launches  uint64

	machFront
	portReturns
	portNotices
	portLaunches

	catalogue *catalogue
	launcher  *launch.Launcher // nil: nothing can be launched here
	probing   []*backend       // that are to be seen listening; the loop's
	probeAt   int64
	rotateAt  int64            // never: it is being done
	logSizes  map[string]int64 // when they were last looked at

	definitionWatch *sys.FD
	rescanAt        int64 // when the definitions are looked at again

	envelopeFront
	undefined undefinedNames
	defined   map[string]bool  // names with definitions, as of the last look at all
	besides   int              // callers for whom something is done beside the loop
	ends      endLog           // of backends
	former    []sys.SocketFile // that earlier brokers accepted callers on, as of the start

	tasks sync.WaitGroup

	// Loop's own.
	reading    map[directory.ID]*caller // callers whose line is not complete
	slow       []*caller                // the same and some that are no more, the oldest first
	slowFrames []*caller                // likewise, of those that send a frame
	held       []heldCaller             // callers of names whose owners may be on their way back
	graceUntil int64                    // until when there are such
	paused     int64                    // when accepting goes on after a lack of descriptors; 0: it is not paused

	handedOver, refused atomic.Uint64
	trace               trace
}

// New takes the runtime folder and its lock, and binds the sockets that config does not bring. Errors: *RunningError if another
// broker has the folder, *FolderError if the folder cannot be trusted, errors.ErrUnsupported outside Linux.
func New(config Config) (*Broker, error) {
	if config.RuntimeDir == "" {
		config.RuntimeDir = switchboard.RuntimeDir()
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Version == "" {
		config.Version = moduleVersion()
	}
	limit, err := sys.DescriptorLimit()
	if err != nil {
		return nil, err
	}
	b := &Broker{
		config: config, log: config.Logger, uid: os.Geteuid(), overflow: overflowUID(), started: time.Now(), epoch: sys.Monotonic(), maxFD: limit - reserve, rescanAt: never,
		index: newIndex(), table: newTable(), directory: directory.New(config.Limits.directory()),
		reading: make(map[directory.ID]*caller), trimAt: never,
		backends: make(map[directory.ID]*backend), instances: make(map[string]directory.ID), sockets: make(map[directory.Key]*socket),
		packets:     sync.Pool{New: func() any { return newPacket() }},
		portReturns: portReturns{look: make(chan struct{}, 1)}, portNotices: portNotices{sendersAt: never}, portLaunches: portLaunches{portsAt: never},
		machFront: machFront{ports: make(map[directory.ID]*port), ways: make(map[directory.Process]int), requestors: make(map[directory.Process]int),
			requestorEnds: make(map[uint64]int), created: make(map[directory.Process]int), rights: make(map[uint64]*rightWatch), ownEnds: make(map[uint64]struct{}), subsets: make(map[directory.ID]*subset)},
	}
	b.root = b.wayInto(directory.Root)
	rand.Read(b.instance[:])
	if b.folder, err = openFolder(config.RuntimeDir); err != nil {
		return nil, err
	}
	if err := b.open(); err != nil {
		b.closeDescriptors()
		return nil, err
	}
	b.watchDefinitions()
	b.bindActivation()
	if b.folder.stale {
		b.graceUntil = b.now() + int64(grace)
	}
	return b, nil
}

// open makes everything that the loop watches. broker.sock comes last: who can connect to it finds the rest.
func (b *Broker) open() (err error) {
	if b.poller, err = sys.NewPoller(); err != nil {
		return err
	}
	if err := b.folder.cleanServices(); err != nil {
		return err
	}
	b.prepareEnvelopes()
	if err := b.prepareLaunching(); err != nil {
		return err
	}
	watch, err := sys.WatchFolder(b.folder.path)
	if err != nil {
		return err
	}
	if err := b.watch(&descriptor{id: b.table.id(), kind: folderWatch, fd: watch}); err != nil {
		return err
	}
	if err := b.openEnvelopes(); err != nil {
		return err
	}
	for _, l := range []struct {
		kind  kind
		name  string
		typ   sys.SocketType
		given func(*Listeners) *os.File
	}{
		{bootstrapListener, bootstrapSocket, sys.Seqpacket, func(l *Listeners) *os.File { return l.Bootstrap }},
		{sessionListener, sessionSocket, sys.Seqpacket, func(l *Listeners) *os.File { return l.Session }},
		{brokerListener, brokerSocket, sys.Stream, func(l *Listeners) *os.File { return l.Broker }},
	} {
		var fd *sys.FD
		given := b.config.Listeners
		optional := given != nil && l.kind == bootstrapListener && given.Bootstrap == nil
		if given == nil || optional {
			fd, err = b.folder.listen(l.name, l.typ)
		} else {
			fd, err = adopt(l.given(given))
		}
		if err != nil && optional {
			b.log.Warn("Mach bootstrap messages are not served", "err", err)
			continue
		}
		if err != nil {
			return err
		}
		if given == nil || optional {
			b.bound = append(b.bound, l.name)
		}
		if err := b.watch(&descriptor{id: b.table.id(), kind: l.kind, fd: fd}); err != nil {
			return err
		}
	}
	return nil
}

// adopt takes over a listening socket that somebody else bound, and listens on it anew, so that callers see
// this process as their peer.
func adopt(f *os.File) (*sys.FD, error) {
	if f == nil {
		return nil, errors.New("of the sockets session.sock and broker.sock only one was given: both must be")
	}
	defer f.Close()
	fd, err := sys.Dup(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(sys.SetNonblock(fd.Int(), true), sys.Relisten(fd.Int(), backlog)); err != nil {
		fd.Close()
		return nil, fmt.Errorf("cannot use the listening socket %s: %w", f.Name(), err)
	}
	return fd, nil
}

// watch puts a descriptor into the table and the loop.
func (b *Broker) watch(d *descriptor) error {
	if err := b.poller.Add(d.fd.Int(), sys.Readable, uint64(d.id)); err != nil {
		d.fd.Close()
		return err
	}
	b.table.put(d)
	return nil
}

// Serve serves until ctx ends, a client asks for shutdown, the broker was idle for Config.IdleExit, or its folder
// was replaced. It ends politely: no socket stays, callers that had connected are served, sessions are told BYE.
func (b *Broker) Serve(ctx context.Context) error {
	defer b.closeDescriptors()
	defer context.AfterFunc(ctx, func() { b.end("the broker was told to end") })()
	if b.config.Ready != nil {
		b.config.Ready()
	}
	b.busyAt = b.now()
	b.checkFolder() // what happened to it before it was watched
	stopReaping := b.reapOrphans()
	err := b.loop()
	b.dismissAll() // all are gone, unless the loop failed
	b.sessions.Wait()
	b.tasks.Wait()
	stopReaping()
	return err
}

// end begins the end: the loop stops accepting, and drains. The first reason stands.
func (b *Broker) end(reason string) {
	b.mu.Lock()
	if b.ending == "" {
		b.ending = reason
	}
	b.mu.Unlock()
	b.poller.Wake()
}

// dismissAll ends every session.
func (b *Broker) dismissAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.table.entries {
		if d.kind == sessionConn {
			b.bye(d.session, directory.Refusal{Reason: directory.OwnerGone, Text: "the broker has ended"})
		}
		if d.kind == controlConnKind {
			_ = sys.Shutdown(d.control.fd)
		}
	}
}

// now is the broker's clock: CLOCK_MONOTONIC in nanoseconds, which is the same for a successor that imports the directory.
func (b *Broker) now() int64 { return b.epoch + int64(time.Since(b.started)) }

// RuntimeDir returns the folder that the broker serves.
func (b *Broker) RuntimeDir() string { return b.folder.path }

// SetLimits changes the limits from now on; what is held already stays.
func (b *Broker) SetLimits(l Limits) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.directory.SetLimits(l.directory())
}

// SetIdleExit changes after how long without a lease the broker ends; 0: never.
func (b *Broker) SetIdleExit(d time.Duration) {
	b.mu.Lock()
	b.config.IdleExit = d
	b.mu.Unlock()
	b.poller.Wake()
}

// closeDescriptors closes whatever is left, the folder's lock last.
func (b *Broker) closeDescriptors() {
	b.mu.Lock()
	for id := range b.table.entries {
		b.drop(id)
	}
	b.mu.Unlock()
	if b.poller != nil {
		b.poller.Close()
	}
	if b.launcher != nil {
		b.launcher.Close()
	}
	b.folder.close()
}

// drop takes a descriptor out of the loop and the table and closes it. Sessions and control connections close their own.
func (b *Broker) drop(id directory.ID) {
	d := b.table.take(id)
	if d == nil || d.kind == sessionConn || d.kind == controlConnKind {
		return
	}
	if d.kind != serviceSocket && d.kind != portSend { // whose descriptor may be a watchedRight, too
		_ = b.poller.Remove(d.fd.Int()) // not all are in it
	}
	if d.path != "" {
		b.folder.unlink(filepath.Join(serviceFolder, d.path))
	}
	switch d.kind {
	case portSend:
		b.forgetPort(d.port)
	case portReceive:
		b.declared--
	case bootstrapPortKind, doorSocket:
		b.wayClosed(d.boot)
	}
	if d.right != nil {
		d.right.release()
		return
	}
	d.fd.Close()
}

func moduleVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == "github.com/switchboard-ipc/switchboard" && m.Version != "" {
				return m.Version
			}
		}
	}
	return "(devel)"
}

// overflowUID is what the kernel shows for a user that has no number here.
func overflowUID() int {
	uid := 65534
	if f, err := os.Open("/proc/sys/kernel/overflowuid"); err == nil {
		defer f.Close()
		fmt.Fscan(io.LimitReader(f, 16), &uid)
	}
	return uid
}

// admit says why a peer may not use this broker, or nothing.
func (b *Broker) admit(p sys.Cred) directory.Refusal {
	switch {
	case p.PID == 0:
		return directory.Refusal{Reason: directory.Denied, Text: "your process has no id in the broker's pid namespace: connect from inside it"}
	case p.UID == b.overflow && b.uid != b.overflow:
		return directory.Refusal{Reason: directory.Denied, Text: "your user is not mapped into the broker's user namespace"}
	case p.UID != b.uid && p.UID != 0:
		return directory.Refusal{Reason: directory.Denied, Text: fmt.Sprintf("this broker serves user %d and root, and you are user %d", b.uid, p.UID)}
	}
	return directory.Refusal{}
}

// scarce says why a descriptor may not be kept, or nothing: the last ones are the reserve.
func (b *Broker) scarce(fd *sys.FD) directory.Refusal {
	if fd.Int() < b.maxFD {
		return directory.Refusal{}
	}
	return directory.Refusal{Reason: directory.LimitHit, Text: "the broker has few descriptors left: try again later"}
}

// code translates a refusal for the session protocol and the text form.
func code(r directory.Reason) session.Code {
	switch r {
	case directory.OK:
		return session.OK
	case directory.Malformed:
		return session.Usage
	case directory.Unknown, directory.WrongKind, directory.Mismatch, directory.NotStarted:
		return session.Unavailable
	case directory.Denied:
		return session.NotAllowed
	}
	return session.TryAgain
}

// isHangUp reports whether an error means that the other side is gone.
func isHangUp(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF)
}
