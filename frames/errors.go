// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"errors"
	"fmt"

	"github.com/switchboard-ipc/switchboard"
)

var (
	// ErrWriterGone: the writer died, or was lost. What it had published was delivered before.
	ErrWriterGone = errors.New("the writer of the frames is gone")
	// ErrEvicted: the writer waited for this lossless reader until its deadline, and does so no more.
	ErrEvicted = errors.New("this reader was evicted: it kept the writer waiting for longer than its deadline")
	// ErrTooManyHeld: Next would hold more frames than the reader may. Release one.
	ErrTooManyHeld = errors.New("too many frames are held: release one, or open the channel with more Holds")
	// ErrNoSlot: every slot is on loan. Publish one, or drop it, or create the channel with more Slots.
	ErrNoSlot = errors.New("every slot is on loan")
	// ErrReformatted: the format changed while the slot was on loan, so it cannot be published.
	ErrReformatted = errors.New("the format has changed since the slot was loaned")
	// ErrReleased: a loan that was published or dropped before.
	ErrReleased = errors.New("the slot was published or dropped before")
)

// RefusedError is a writer's refusal of a reader. The code is one of sysexits.h, as those of package switchboard, whose errors it is, too:
// errors.Is(err, switchboard.ErrTryAgain) when there are too many readers.
type RefusedError struct {
	Code int
	Text string
}

func (e *RefusedError) Error() string { return "the writer refuses: " + e.Text }

// Unwrap returns a [switchboard.Error] with the code.
func (e *RefusedError) Unwrap() error {
	return &switchboard.Error{Code: switchboard.Code(e.Code), Text: e.Text}
}

// fault is a breach of the protocol by the writer.
func fault(format string, args ...any) error {
	return fmt.Errorf("the writer broke the rules: "+format, args...)
}
