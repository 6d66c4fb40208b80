// SPDX-License-Identifier: Apache-2.0

package mach

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// end is the descriptor of a right. Several goroutines may use it; whoever is the last closes it, once it is closed or given
// away.
//
// The descriptor may be blocking or not, as it came: others have the same open file, and its flags are theirs too. So every
// call on it says MSG_DONTWAIT, and who has to wait does so in a set of its own.
type end struct {
	turn chan struct{} // holds one token: who takes it may wait

	mu     sync.Mutex // guards what follows
	fd     *sys.FD
	poller *sys.Poller // made when somebody waits for the first time
	users  int
	moving bool  // somebody is about to give it away
	gone   error // why it can't be used any more, or nil
}

// errMoved is the error of a right that was given away.
var errMoved = fmt.Errorf("%w: it was sent in a message", ErrClosed)

func newEnd(fd *sys.FD) *end {
	e := &end{fd: fd, turn: make(chan struct{}, 1)}
	e.turn <- struct{}{}
	return e
}

// enter returns the number, which is good until leave.
func (e *end) enter() (fd int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone != nil {
		return -1, e.gone
	}
	e.users++
	return e.fd.Int(), nil
}

func (e *end) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.users--
	e.releaseLocked()
}

// releaseLocked closes the descriptor if it is time.
func (e *end) releaseLocked() {
	if e.gone == nil || e.users > 0 {
		return
	}
	e.fd.Close()
	if e.poller != nil {
		e.poller.Close()
		e.poller = nil
	}
}

// end makes it unusable, and wakes those who wait. It returns false if it was already.
func (e *end) end(why error) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone != nil {
		return false
	}
	e.gone = why
	if e.poller != nil {
		e.poller.Wake()
	}
	e.releaseLocked()
	return true
}

// reserve is enter for who is about to give it away: only one can.
func (e *end) reserve() (fd int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.gone != nil:
		return -1, e.gone
	case e.moving:
		return -1, fmt.Errorf("%w: it is being sent in a message, or is in this one twice", ErrClosed)
	}
	e.moving = true
	e.users++
	return e.fd.Int(), nil
}

// settle ends what reserve began.
func (e *end) settle(given bool) {
	if given {
		e.end(errMoved)
	}
	e.mu.Lock()
	e.moving = false
	e.mu.Unlock()
	e.leave()
}

// dup returns a duplicate of the descriptor.
func (e *end) dup() (*sys.FD, error) {
	fd, err := e.enter()
	if err != nil {
		return nil, err
	}
	defer e.leave()
	return sys.Dup(fd)
}

// file returns a duplicate as a file.
func (e *end) file(name string) (*os.File, error) {
	fd, err := e.dup()
	if err != nil {
		return nil, during("duplicate", name, err)
	}
	return os.NewFile(uintptr(fd.Take()), name), nil
}

func (e *end) whyGone() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gone
}

// wait waits until the descriptor may be ready for events, which are the same at every call. The caller has entered.
func (e *end) wait(ctx context.Context, fd int, events uint32) error {
	select {
	case <-e.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { e.turn <- struct{}{} }()
	p, err := e.poll(fd, events)
	if err != nil {
		return err
	}
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, p.Wake)()
	}
	var room [1]sys.Ready
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := e.whyGone(); err != nil {
			return err
		}
		ready, err := p.Wait(time.Time{}, room[:0])
		if err != nil || len(ready) > 0 {
			return err
		}
	}
}

// poll returns the set to wait in.
func (e *end) poll(fd int, events uint32) (*sys.Poller, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.poller == nil {
		p, err := sys.NewPoller()
		if err != nil {
			return nil, err
		}
		if err := p.Add(fd, events, 0); err != nil {
			p.Close()
			return nil, err
		}
		e.poller = p
	}
	return e.poller, nil
}
