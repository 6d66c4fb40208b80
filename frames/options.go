// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"time"

	"github.com/switchboard-ipc/switchboard"
)

// CreateOption adds to a channel that is created.
type CreateOption interface{ applyCreate(*createOptions) }

// OpenOption says how a channel is read. Modes are OpenOptions.
type OpenOption interface{ applyOpen(*openOptions) }

// Option is for both sides.
type Option interface {
	CreateOption
	OpenOption
}

type createOptions struct {
	slots, readers, holds int
	patience              time.Duration
	hello                 time.Duration
	client                *switchboard.Client
	fault                 func(point string)
}

type openOptions struct {
	mode     Mode
	last     bool
	depth    int
	holds    int
	deadline time.Duration
	spin     time.Duration
	byEvent  bool
	rejoin   bool
	client   *switchboard.Client
	fault    func(point string)
}

type createOption func(*createOptions)

func (f createOption) applyCreate(o *createOptions) { f(o) }

type openOption func(*openOptions)

func (f openOption) applyOpen(o *openOptions) { f(o) }

type option struct {
	create func(*createOptions)
	open   func(*openOptions)
}

func (o option) applyCreate(c *createOptions) { o.create(c) }
func (o option) applyOpen(c *openOptions)     { o.open(c) }

// Slots is how many slots the writer works with, 4 unless said. What readers hold comes on top.
func Slots(n int) CreateOption { return createOption(func(o *createOptions) { o.slots = n }) }

// MaxReaders is how many readers there may be at once, 32 unless said, which is the most.
func MaxReaders(n int) CreateOption { return createOption(func(o *createOptions) { o.readers = n }) }

// Patience is the most that the writer waits for a lossless reader without progress, whatever that asks for; 10 s unless said.
func Patience(d time.Duration) CreateOption {
	return createOption(func(o *createOptions) { o.patience = d })
}

// Holds is how many frames a reader may hold at once: of a writer, the most that each of its readers is granted; of a reader, what it
// asks for. 4 unless said, at most 16.
func Holds(n int) Option {
	return option{func(o *createOptions) { o.holds = n }, func(o *openOptions) { o.holds = n }}
}

// Via is the way to the broker, where it is not that of the user.
func Via(c *switchboard.Client) Option {
	return option{func(o *createOptions) { o.client = c }, func(o *openOptions) { o.client = c }}
}

// Mode is what a reader gets when it is slower than the writer.
type Mode int

// The modes.
const (
	// Latest: the newest frame each time.
	Latest Mode = iota + 1
	// Every: each frame in order, as far as the writer still has it; what was missed is counted.
	Every
	// Lossless: each frame in order. The writer waits for this reader, up to a deadline.
	Lossless
	statistics
)

func (m Mode) applyOpen(o *openOptions) { o.mode = m }

// String returns "latest", "every" or "lossless".
func (m Mode) String() string {
	return [...]string{"none", "latest", "every", "lossless", "statistics"}[min(max(m, 0), statistics)]
}

// Last makes the newest frame that there is already the first one.
func Last() OpenOption { return openOption(func(o *openOptions) { o.last = true }) }

// Depth bounds how many frames behind the newest a reader with Every goes on; it is not bounded unless said, but by what the writer has.
func Depth(n int) OpenOption { return openOption(func(o *openOptions) { o.depth = n }) }

// Deadline is for how long the writer waits for a Lossless reader that makes no progress; 1 s unless said.
func Deadline(d time.Duration) OpenOption {
	return openOption(func(o *openOptions) { o.deadline = d })
}

// Spin is for how long Next looks again and again before it sleeps, at most: it does less when it was in vain before. Unless said, 20 µs with four
// processors or more, else not at all.
func Spin(d time.Duration) OpenOption { return openOption(func(o *openOptions) { o.spin = d }) }

// ByEvent makes Next always wait as Go waits for sockets, instead of keeping a thread: slower by some microseconds, but better
// for a program with many readers. Unless said, it waits so when frames come less than 1,000 times a second.
func ByEvent() OpenOption { return openOption(func(o *openOptions) { o.byEvent = true }) }

// Rejoin makes Next wait for the next writer of the name when one is gone, and go on with that. For readers that were
// opened by name.
func Rejoin() OpenOption { return openOption(func(o *openOptions) { o.rejoin = true }) }
