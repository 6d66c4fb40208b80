// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"time"
)

// retry is a row of attempts, each after a longer pause than the one before.
type retry struct {
	until time.Time     // no attempt begins after it
	pause time.Duration // before the next one
}

// The pauses between attempts, before they are varied at random.
const (
	firstPause   = time.Millisecond
	longestPause = 100 * time.Millisecond
)

// newRetry is called before the first attempt, from when on patience counts if ctx has no deadline.
func newRetry(ctx context.Context, patience time.Duration) retry {
	until, ok := ctx.Deadline()
	if !ok {
		until = time.Now().Add(patience)
	}
	return retry{until, firstPause}
}

// renew lets the row go on for as long as patience again, if its end is not the deadline of ctx.
func (r *retry) renew(ctx context.Context, patience time.Duration) {
	if _, ok := ctx.Deadline(); !ok {
		r.until = time.Now().Add(patience)
	}
}

// wait pauses before the next attempt. It returns false if there is to be none: the patience is over, or ctx.
func (r *retry) wait(ctx context.Context) bool {
	pause := r.pause/2 + rand.N(r.pause)
	if time.Now().Add(pause).After(r.until) {
		return false
	}
	r.pause = min(2*r.pause, longestPause)
	return sleep(ctx, pause)
}

// sleep waits for d; false: ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// isAbsent reports whether a connect failed because no broker runs.
func isAbsent(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// isPassing reports whether a connection failed for a reason that passes: a full backlog, a broker that went away
// before it answered, a lack of memory.
func isPassing(err error) bool {
	for _, e := range []error{errHungUp, errSilent, syscall.EAGAIN, syscall.ECONNRESET, syscall.EPIPE, syscall.ENOBUFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// errHungUp: the other side closed the connection before it answered.
var errHungUp = errors.New("the broker closed the connection before it answered")

// errSilent: a broker that is stopped, or busy beyond measure.
var errSilent = errors.New("the broker does not answer")

// silent is errSilent for people, after the Client's patience.
func (c *Client) silent() error {
	text := fmt.Sprintf("the broker of %s has not answered for %v: it is stopped, or very busy", c.dir, c.patience)
	if c.door != nil {
		text = fmt.Sprintf("nobody has answered for %v at descriptor %d, which %s names: the broker is stopped, or the descriptor does not lead "+
			"to it; unset the variable to use the runtime folder", c.patience, c.door.fd, EnvSessionFD)
	}
	return &Error{Code: CodeTryAgain, Err: errSilent, Text: text}
}

// interrupted is the error of attempts that ctx ended; last is how the one before ended, or nil.
func interrupted(ctx context.Context, last error) error {
	if last == nil {
		return ctx.Err()
	}
	return &Error{Code: CodeTryAgain, Err: ctx.Err(), Text: fmt.Sprintf("%v; the attempt before: %v", ctx.Err(), last)}
}

// gaveUp is the error after the last attempt.
func gaveUp(ctx context.Context, last error) error {
	if ctx.Err() != nil {
		return interrupted(ctx, last)
	}
	return &Error{Code: CodeTryAgain, Err: last, Text: fmt.Sprintf("%v; attempts to reach the broker have ended", last)}
}
