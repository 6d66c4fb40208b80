// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
	"github.com/switchboard-ipc/switchboard/frames"
)

// FrameSizes are the frames whose way is timed. The last is a picture of 4K in BGRA.
var FrameSizes = []struct {
	Name  string
	Bytes int
}{{"64 B", 64}, {"64 KiB", 64 << 10}, {"1 MiB", 1 << 20}, {"4K", 3840 * 2160 * 4}}

// FrameWays are how a reader waits.
var FrameWays = []string{"spinning", "sleeping", "event"}

// frameBatch is how many round trips are timed at once: a look at the clock would be much of one.
const frameBatch = 20

func readerOptions(way string) []frames.OpenOption {
	switch way {
	case "spinning":
		return []frames.OpenOption{frames.Latest, frames.Spin(10 * time.Millisecond)}
	case "event":
		return []frames.OpenOption{frames.Latest, frames.Spin(0), frames.ByEvent()}
	}
	return []frames.OpenOption{frames.Latest, frames.Spin(0)}
}

// frameEcho is a child that answers each frame with one of its own.
type frameEcho struct {
	p   *frames.Process
	out *frames.Writer
	in  *frames.Reader
}

// startFrameEcho starts a command that answers each frame of the channel "in" with one of 64 bytes on "out".
func startFrameEcho(ctx context.Context, way string, size int, argv []string) (*frameEcho, error) {
	p, err := frames.Child(exec.Command(argv[0], argv[1:]...))
	if err != nil {
		return nil, err
	}
	f := &frameEcho{p: p}
	if f.out, err = p.Create(frames.ToChild, frames.Bytes(size)); err == nil {
		within, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if f.in, err = p.Open(within, frames.FromChild, readerOptions(way)...); err == nil {
			for f.out.Readers() == 0 && within.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			return f, within.Err()
		}
	}
	f.Close()
	return nil, errors.Join(err, p.Wait())
}

// Close ends the child.
func (f *frameEcho) Close() {
	f.p.Close()
	if f.in != nil {
		f.in.Close()
	}
}

// trip sends a frame and waits for the answer.
func (f *frameEcho) trip(ctx context.Context) error {
	l, err := f.out.Loan(ctx)
	if err != nil {
		return err
	}
	if err := l.Publish(); err != nil {
		return err
	}
	a, err := f.in.Next(ctx)
	if err != nil {
		return err
	}
	a.Release()
	return nil
}

// oneWay returns the time that a frame takes one way, in µs: half of a round trip, the median of what fits into the time.
func (f *frameEcho) oneWay(ctx context.Context, d time.Duration) (float64, error) {
	var took []float64
	for start := time.Now(); len(took) < 3 || time.Since(start) < d; {
		began := time.Now()
		for range frameBatch {
			if err := f.trip(ctx); err != nil {
				return 0, err
			}
		}
		took = append(took, float64(time.Since(began).Nanoseconds())/1000/(2*frameBatch))
	}
	return Median(took), nil
}

// driveRole times frames to an echo, which it starts: WAY SIZE COMMAND…
func driveRole(ctx context.Context, r *role) error {
	if err := r.need(3); err != nil {
		return err
	}
	size, err := strconv.Atoi(r.args[1])
	if err != nil {
		return err
	}
	echo, err := startFrameEcho(ctx, r.args[0], size, r.args[2:])
	if err != nil {
		return err
	}
	defer echo.Close()
	r.ready()
	return r.answer(func(d time.Duration, _ []string) (any, error) { return echo.oneWay(ctx, d) })
}

// FrameDriver times frames that one process sends to another.
type FrameDriver struct{ p *proc.Process }

// StartFrameDriver starts a process that sends frames, and the command that answers each with one of 64 bytes.
func (e *Env) StartFrameDriver(ctx context.Context, way string, size int, echo []string) (*FrameDriver, error) {
	p, err := e.StartRole(ctx, slices.Concat([]string{"drive", way, strconv.Itoa(size)}, echo)...)
	return &FrameDriver{p}, err
}

// OneWay returns the time that a frame takes one way, in µs.
func (f *FrameDriver) OneWay(ctx context.Context, d time.Duration) (us float64, err error) {
	if err = f.p.Tell("%s", d); err == nil {
		err = f.p.Result(ctx, &us)
	}
	return us, err
}

// Stop ends both processes.
func (f *FrameDriver) Stop() { f.p.Stop() }

// framesGroup measures frames between processes of Go.
func framesGroup(ctx context.Context, e *Env) ([]Row, error) {
	var table []Row
	for _, measure := range []func(context.Context, *Env) ([]Row, error){frameCopies, frameRates, frameKills, frameMemory} {
		rows, err := measure(ctx, e)
		if err != nil {
			return nil, err
		}
		table = append(table, rows...)
	}
	return table, nil
}

// frameRole is the other process: HOW and what that takes.
func frameRole(ctx context.Context, r *role) error {
	if err := r.need(2); err != nil {
		return err
	}
	if r.args[0] == "channels" {
		return frameChannels(r)
	}
	link, err := frames.Parent()
	if err != nil {
		return err
	}
	defer link.Close()
	opts := readerOptions(r.args[1])
	if r.args[0] != "echo" {
		opts = append(opts, frames.Lossless, frames.Last())
	}
	in, err := link.Open(ctx, frames.ToChild, opts...)
	if err != nil {
		return err
	}
	defer in.Close()
	var out *frames.Writer
	if r.args[0] != "drain" {
		if out, err = link.Create(frames.FromChild, frames.Bytes(64)); err != nil {
			return err
		}
	}
	for {
		f, err := in.Next(ctx)
		if err != nil {
			return nil // the parent has ended it
		}
		if r.args[0] == "echo" {
			f.Release()
		}
		if out != nil { // for hold, the frame stays held
			l, err := out.Loan(ctx)
			if err == nil {
				err = l.Publish()
			}
			if err != nil {
				return err
			}
			continue
		}
		f.Release()
	}
}

// frameCopies compares a 4K frame with the same bytes written to a socket and read from it.
func frameCopies(ctx context.Context, e *Env) ([]Row, error) {
	size := FrameSizes[len(FrameSizes)-1].Bytes
	copier, err := e.StartRole(ctx, "copy", e.Folder+"/copy", strconv.Itoa(size))
	if err != nil {
		return nil, err
	}
	defer copier.Stop()
	c, err := dialPlain(ctx, e.Folder+"/copy")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	pixels := make([]byte, size)
	for i := range pixels {
		pixels[i] = byte(i)
	}
	var answer [1]byte
	var ways [2][]float64
	var echoes [2]*frameEcho
	for i := range echoes {
		if echoes[i], err = startFrameEcho(ctx, FrameWays[i], size, slices.Concat(e.options.Self, []string{"frames", "echo", FrameWays[i]})); err != nil {
			return nil, err
		}
		defer echoes[i].Close()
	}
	var copies []float64
	for range e.Rounds() {
		for i, echo := range echoes {
			us, err := echo.oneWay(ctx, e.Slice()/4)
			if err != nil {
				return nil, err
			}
			ways[i] = append(ways[i], us)
		}
		var took []float64
		for range 3 {
			began := time.Now()
			if _, err := c.Write(pixels); err != nil {
				return nil, err
			}
			if _, err := io.ReadFull(c, answer[:]); err != nil {
				return nil, err
			}
			took = append(took, float64(time.Since(began).Nanoseconds())/1000)
		}
		copies = append(copies, Median(took))
	}
	return []Row{
		Compare("a 4K frame through a Unix socket, copied", "µs", copies, "a frame in memory, spinning", ways[0], Limit{AtLeast: 1000}),
		Compare("a 4K frame through a Unix socket, copied", "µs", copies, "a frame in memory, sleeping", ways[1], Limit{AtLeast: 1000}),
	}, nil
}

// frameRates counts frames per second that all of so many readers got, none missed.
func frameRates(ctx context.Context, e *Env) ([]Row, error) {
	var table []Row
	for _, n := range []int{1, 8, 32} {
		rates, err := frameRate(ctx, e, n)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("4K frames a second, each to %d readers, lossless", n)
		table = append(table, Alone(name, "/s", rates, Limit{}))
	}
	return table, nil
}

func frameRate(ctx context.Context, e *Env, readers int) ([]float64, error) {
	w, err := frames.NewWriter(frames.Format{FourCC: frames.BGRA, Width: 3840, Height: 2160})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	for range readers {
		p, err := frames.Child(exec.Command(e.options.Self[0], slices.Concat(e.options.Self[1:], []string{"frames", "drain", "sleeping"})...))
		if err != nil {
			return nil, err
		}
		defer p.Close()
		if err := p.Share(frames.ToChild, w); err != nil {
			return nil, err
		}
	}
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for w.Readers() < readers {
		if err := pause(within, time.Millisecond); err != nil {
			return nil, err
		}
	}
	var rates []float64
	for range e.Rounds() {
		n, start := 0, time.Now()
		for ; time.Since(start) < e.Slice()/2; n++ {
			l, err := w.Loan(within)
			if err != nil {
				return nil, err
			}
			if err := l.Publish(); err != nil {
				return nil, err
			}
		}
		rates = append(rates, float64(n)/time.Since(start).Seconds())
	}
	return rates, nil
}

// frameKills takes the time from SIGKILL of a reader that holds a frame until the writer may use its slot again.
func frameKills(ctx context.Context, e *Env) ([]Row, error) {
	rounds := 50
	if e.Quick() {
		rounds = 10
	}
	var took []float64
	for range rounds {
		f, err := startFrameEcho(ctx, "sleeping", 64, slices.Concat(e.options.Self, []string{"frames", "hold", "sleeping"}))
		if err != nil {
			return nil, err
		}
		if err := f.trip(ctx); err != nil {
			f.Close()
			return nil, err
		}
		began := time.Now()
		process, err := os.FindProcess(f.p.PID())
		if err == nil {
			err = process.Kill()
		}
		for err == nil && f.out.Readers() > 0 {
			err = pause(ctx, 20*time.Microsecond)
		}
		took = append(took, float64(time.Since(began).Microseconds())/1000)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	row := Alone("SIGKILL of a reader to its slot being free, worst", "ms", []float64{slices.Max(took)}, Limit{AtMost: 10})
	row.Note = fmt.Sprintf("the worst of %d; their median is %.2f ms", rounds, Median(took))
	return []Row{row}, nil
}

// frameChannels is a process with so many channels that nobody reads.
func frameChannels(r *role) error {
	n, err := strconv.Atoi(r.args[1])
	if err != nil {
		return err
	}
	for range n {
		w, err := frames.NewWriter(frames.Format{FourCC: frames.NV12, Width: 1920, Height: 1080})
		if err != nil {
			return err
		}
		defer w.Close()
	}
	r.ready()
	r.wait()
	return nil
}

// frameMemory measures what a channel without frames has resident in its writer.
func frameMemory(ctx context.Context, e *Env) ([]Row, error) {
	const many = 200
	var resident [2]float64
	for i, n := range []int{1, 1 + many} {
		p, err := e.StartRole(ctx, "frames", "channels", strconv.Itoa(n))
		if err != nil {
			return nil, err
		}
		m, err := proc.MemoryOf(p.PID())
		if err != nil {
			return nil, err
		}
		resident[i] = float64(m.Resident)
		p.Stop()
	}
	row := Alone("a channel without frames, in its writer", "KiB", []float64{(resident[1] - resident[0]) / many / kib}, Limit{})
	row.Note = "132 slots of 1080p, of which none has memory before it is used"
	return []Row{row}, nil
}
