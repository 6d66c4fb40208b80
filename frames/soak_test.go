// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/internal/unixconn"
)

// soakTime is for how long TestSoak goes on: 20 s, or SWITCHBOARD_TEST_SOAK.
func soakTime() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("SWITCHBOARD_TEST_SOAK")); err == nil {
		return d
	}
	if testing.Short() {
		return 2 * time.Second
	}
	return 20 * time.Second
}

// soak is one writer with 32 readers in both languages that come and are killed, and writers that are killed, all at once.
type soak struct {
	t    *testing.T
	ctx  context.Context // ends with the time
	w    *Writer
	turn atomic.Int64 // of the points

	mu      sync.Mutex // guards what follows
	counts  map[string]int
	running map[int]*exec.Cmd // that may be stopped, by pid
}

// TestSoak: 32 readers, of which some are killed at every step of the protocol in turn, some are stopped for a while, one is slow, and one fills its
// words with noise; formats change. Every frame that any of them gets has its checksum, and whoever is well misses nothing unsaid.
func TestSoak(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), soakTime())
	defer cancel()
	s := &soak{t: t, ctx: ctx, w: newWriter(t, small, Slots(3), Patience(2*time.Second),
		createOption(func(o *createOptions) { o.hello = time.Minute })), counts: map[string]int{}, running: map[int]*exec.Cmd{}}
	var work sync.WaitGroup
	seat := func(n int, f func() error) {
		for range n {
			work.Go(func() {
				for ctx.Err() == nil {
					if err := f(); err != nil {
						t.Error(err)
						cancel()
					}
				}
			})
		}
	}
	work.Go(s.publish)
	well := []*Reader{attach(t, s.w, Every), attach(t, s.w, Lossless, Deadline(deadline)), attach(t, s.w, Latest, ByEvent()), attach(t, s.w, Every, Depth(2), Spin(50*time.Microsecond))}
	var reading sync.WaitGroup
	for _, r := range well {
		reading.Go(func() { s.readAll(r) })
	}
	mad := attach(t, s.w, Every)
	work.Go(func() { s.scribble(mad) })
	work.Go(s.stopSome)
	seat(1, func() error { return s.reader("Go", "never", Every, "20ms") })
	seat(2, func() error { return s.reader("Go", "never", Latest) })
	seat(16, func() error { return s.killedReader("Go") })
	seat(8, func() error { return s.killedReader("Python") })
	seat(1, func() error { return s.killedWriter("Go") })
	seat(1, func() error { return s.killedWriter("Python") })
	work.Wait()
	reading.Wait()
	for _, what := range slices.Sorted(maps.Keys(s.counts)) {
		t.Logf("%-32s %d", what, s.counts[what])
	}
}

func (s *soak) count(what string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what] += n
}

// publish publishes until the time is over, and then ends the channel.
func (s *soak) publish() {
	defer s.w.Close()
	formats := []Format{small, {FourCC: NV12, Width: 33, Height: 17}, {Type: Float32, Shape: []int{7, 3}}}
	n := 0
	for ; s.ctx.Err() == nil; n++ {
		l, err := s.w.Loan(context.Background())
		if err != nil {
			s.t.Error(err)
			return
		}
		fill(l, n)
		if err := l.Publish(); err != nil {
			s.t.Error(err)
			return
		}
		if n%256 == 255 {
			if err := s.w.Reformat(formats[n/256%len(formats)]); err != nil {
				s.t.Error(err)
				return
			}
			s.count("formats", 1)
		}
		time.Sleep(200 * time.Microsecond)
	}
	s.count("frames published", n)
	s.count("readers evicted", int(s.w.Stats().Evicted))
}

func (s *soak) readAll(r *Reader) {
	n, last := 0, uint64(0)
	defer func() { s.count(fmt.Sprintf("frames read by %v", r.options.mode), n) }()
	for ; ; n++ {
		f, err := r.Next(context.Background())
		if err == nil {
			err = check(f)
			if last > 0 && f.Sequence != last+1+f.Missed || r.options.mode == Lossless && f.Missed > 0 {
				err = errors.Join(err, fmt.Errorf("a reader with %v: frame %d, %d missed, after %d", r.options.mode, f.Sequence, f.Missed, last))
			}
			last = f.Sequence
			f.Release()
		}
		if err != nil {
			if err != io.EOF {
				s.t.Error(err)
			}
			return
		}
	}
}

// scribble is a reader that only writes noise.
func (s *soak) scribble(r *Reader) {
	words := r.view.words.memory // of the first pool; the writer looks at those of each pool
	for s.ctx.Err() == nil {
		for at := 0; at < wordsSize; at += 4 {
			words.Word32(at).Store(rand.Uint32N(1 << rand.IntN(32)))
		}
		time.Sleep(time.Millisecond)
		_ = r.line.send(releasedKind, nil)
		r.line.mu.Lock()
		for n := len(r.line.pools); n > 1; n-- {
			r.line.pools[0].leave()
			r.line.pools = r.line.pools[1:]
		}
		for _, v := range r.line.pools {
			for at := 0; at < wordsSize; at += 4 {
				v.words.memory.Word32(at).Store(rand.Uint32N(1 << rand.IntN(32)))
			}
		}
		r.line.mu.Unlock()
	}
}

// start starts a role in either language, connected to what is returned.
func (s *soak) start(language, role string, args ...string) (*exec.Cmd, *net.UnixConn, error) {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	if language == "Python" {
		program, err := exec.LookPath("python3")
		if err != nil {
			return nil, nil, nil
		}
		cmd = exec.Command(program, append([]string{pythonRole, role}, args...)...)
	}
	ours, theirs, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		return nil, nil, err
	}
	c, err := unixconn.Of(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	_ = sys.SetNonblock(theirs.Int(), false)
	file := os.NewFile(uintptr(theirs.Take()), "channel")
	defer file.Close()
	cmd.ExtraFiles = []*os.File{file}
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		c.Close()
		return nil, nil, err
	}
	return cmd, c, nil
}

// ended judges the end of a process: killed, evicted, or at the end of the channel, which it must notice.
func (s *soak) ended(cmd *exec.Cmd, what string) (killed bool, err error) {
	end, _ := s.ctx.Deadline()
	timer := time.AfterFunc(time.Until(end)+deadline, func() { _ = cmd.Process.Signal(syscall.SIGABRT) })
	defer timer.Stop()
	err = cmd.Wait()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if killed = status.Signaled() && status.Signal() == syscall.SIGKILL; killed || err == nil || status.ExitStatus() == evictedCode {
		return killed, nil
	}
	return false, fmt.Errorf("%s: %w: %s", what, err, cmd.Stderr)
}

func (s *soak) killedReader(language string) error {
	n := int(s.turn.Add(1))
	return s.reader(language, readerPoints[n%len(readerPoints)], Mode(n/len(readerPoints)%3+1))
}

func (s *soak) reader(language, point string, mode Mode, pause ...string) error {
	n := rand.IntN(2)
	named, how := strconv.Itoa(int(mode)), []string{"futex", "event"}[n]
	if language == "Python" {
		named = mode.String()
	}
	cmd, c, err := s.start(language, "reader", append([]string{point, strconv.Itoa(1 + rand.IntN(60)), named, how}, pause...)...)
	if cmd == nil {
		<-s.ctx.Done()
		return err
	}
	_ = s.w.Serve(c) // closed: it finds nobody
	if mode != Lossless {
		s.mu.Lock()
		s.running[cmd.Process.Pid] = cmd
		s.mu.Unlock()
	}
	what := fmt.Sprintf("a %s reader with %v at %s", language, mode, point)
	killed, err := s.ended(cmd, what)
	s.mu.Lock()
	delete(s.running, cmd.Process.Pid)
	s.mu.Unlock()
	if killed {
		s.count("killed: "+language+" "+point, 1)
	}
	if s.ctx.Err() != nil && cmd.ProcessState.ExitCode() == 1 {
		return nil // it came when the channel had ended
	}
	return err
}

// stopSome stops readers that nobody waits for, and lets them go on.
func (s *soak) stopSome() {
	for s.ctx.Err() == nil {
		s.mu.Lock()
		var cmd *exec.Cmd
		for _, cmd = range s.running {
			break
		}
		s.mu.Unlock()
		if cmd != nil && cmd.Process.Signal(syscall.SIGSTOP) == nil {
			s.count("readers stopped", 1)
			time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
			_ = cmd.Process.Signal(syscall.SIGCONT)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// killedWriter kills a writer. Its reader gets a run of whole frames, and then knows.
func (s *soak) killedWriter(language string) error {
	n := int(s.turn.Add(1))
	point, nth := writerPoints[n%len(writerPoints)], 1+rand.IntN(20)
	if point == "attach.ready" || point == "attach.sent" || point == "reformat.sent" || point == "reformat.rung" {
		nth = 1
	}
	cmd, c, err := s.start(language, "writer", point, strconv.Itoa(nth))
	if cmd == nil {
		<-s.ctx.Done()
		return err
	}
	what := fmt.Sprintf("a %s writer at %s", language, point)
	within, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	r, err := NewReader(within, c, Lossless, Deadline(deadline), Last(), Holds(1+rand.IntN(3)))
	for last := uint64(0); err == nil; {
		var f *Frame
		if f, err = r.Next(within); err != nil {
			break
		}
		if err = check(f); err == nil && last > 0 && f.Sequence != last+1 {
			err = fmt.Errorf("frame %d came after %d", f.Sequence, last)
		}
		last = f.Sequence
		f.Release()
	}
	if r != nil {
		r.Close()
	}
	if !errors.Is(err, ErrWriterGone) {
		_ = cmd.Process.Signal(syscall.SIGABRT) // it says where it is
		_ = cmd.Wait()
		return fmt.Errorf("%s: %w: %s", what, err, cmd.Stderr)
	}
	killed, err := s.ended(cmd, what)
	if killed {
		s.count("killed: "+language+" "+point, 1)
	}
	return err
}
