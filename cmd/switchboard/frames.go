// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/frames"
	"github.com/switchboard-ipc/switchboard/internal/picture"
)

func (a *app) framesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "frames",
		Short: "share pictures in memory: publish them, look at them, record them",
		Long: `Frames are pictures or tensors that one program publishes under a name, and others see where it put them, in shared memory, without
a copy. These commands publish a test pattern or what a pipe brings, and look at, record, or pass on what others publish.`,
		Example: `  switchboard frames publish com.example.camera --test-pattern 1920x1080@60
  switchboard frames view com.example.camera
  ffmpeg -i in.mp4 -f rawvideo -pix_fmt nv12 - | switchboard frames publish com.example.film --raw - --format 1280x720@25:NV12
  switchboard frames record com.example.film out.y4m`,
		Args: a.noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.framesPublishCommand(), a.framesViewCommand(), a.framesRecordCommand(), a.framesPipeCommand(),
		a.framesStatsCommand(), a.framesListCommand())
	return cmd
}

// formatRule is WxH@FPS and behind a colon the pixels.
var formatRule = regexp.MustCompile(`^(\d{1,5})x(\d{1,5})(?:@(\d{1,6})(?:/(\d{1,6}))?)?(?::(.{1,8}))?$`)

// parseFormat reads 1920x1080@60:NV12; the rate may be a fraction such as 30000/1001. Without pixels it is BGRA.
func parseFormat(s string) (frames.Format, error) {
	m := formatRule.FindStringSubmatch(s)
	if m == nil {
		return frames.Format{}, usagef("format %q is malformed: write WIDTHxHEIGHT@FPS:FOURCC, such as 1920x1080@60:NV12", s)
	}
	number := func(s string) int { n, _ := strconv.Atoi(s); return n } // of a few digits
	f := frames.Format{FourCC: frames.BGRA, Width: number(m[1]), Height: number(m[2])}
	if f.Rate = (frames.Rate{Num: number(m[3]), Den: 1}); m[4] != "" {
		f.Rate.Den = number(m[4])
	}
	var err error
	if m[5] != "" {
		f.FourCC, err = frames.ParseFourCC(m[5])
	}
	if err == nil {
		f, err = f.Complete()
	}
	if err == nil && m[3] != "" && (f.Rate.Num == 0 || f.Rate.Den == 0) {
		err = errors.New("a rate without frames, or in no time")
	}
	if err != nil {
		return f, usagef("format %q: %w", s, err)
	}
	return f, nil
}

const layoutUsage = "how rows lie in the pipe: packed, or gstreamer, rounded up to 4 bytes"

func parseLayout(s string) (picture.Layout, error) {
	l, err := picture.ParseLayout(s)
	if err != nil {
		return l, usagef("%w", err)
	}
	return l, nil
}

// readFlags are of commands that read a channel.
type readFlags struct {
	lossless, every, wait bool
	frames                int
}

func (r *readFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&r.lossless, "lossless", false, "end rather than miss a frame: the writer waits up to 10 s")
	cmd.Flags().BoolVar(&r.every, "every", false, "miss frames rather than have the writer wait")
	cmd.MarkFlagsMutuallyExclusive("lossless", "every")
	cmd.Flags().BoolVar(&r.wait, "wait", false, "wait for the name, and for its next writer when one is gone")
	cmd.Flags().IntVar(&r.frames, "frames", 0, "end after so many frames")
}

// read calls each with the frames of a channel, until the writer ends it, each says so by io.EOF, or ctx ends. It returns how many were missed.
// Of the modes Lossless lasts for as long as the writer waits for this reader; from then on it misses frames, unless flags want it otherwise.
func (a *app) read(ctx context.Context, name string, flags readFlags, mode frames.Mode, each func(*frames.Frame) error) (missed uint64, err error) {
	client := a.client()
	defer client.Close()
	opts := []frames.OpenOption{mode, frames.Last(), frames.Via(client)}
	switch {
	case flags.lossless:
		opts = append(opts, frames.Lossless, frames.Deadline(10*time.Second))
	case flags.every:
		opts = append(opts, frames.Every)
	}
	if flags.wait {
		opts = append(opts, frames.Rejoin())
	}
	var last frames.ID
	n := 0
	counted := func(f *frames.Frame) error {
		switch id := f.ID(); {
		case id.Channel != last.Channel || f.Missed > 0:
		case id.Sequence <= last.Sequence: // read again, after an eviction
			n--
			return nil
		default:
			missed += id.Sequence - last.Sequence - 1
		}
		last = f.ID()
		missed += f.Missed
		return each(f)
	}
	err = a.readUntil(ctx, name, flags, opts, &n, counted)
	if errors.Is(err, frames.ErrEvicted) && !flags.lossless {
		a.say("too slow for the writer of %q, which waits no more: frames may be missed", name)
		err = a.readUntil(ctx, name, flags, append(opts, frames.Every), &n, counted)
	}
	return missed, err
}

// readUntil is read with one reader. n counts the frames.
func (a *app) readUntil(ctx context.Context, name string, flags readFlags, opts []frames.OpenOption, n *int, each func(*frames.Frame) error) error {
	r, err := frames.Open(ctx, name, opts...)
	switch {
	case err != nil && ctx.Err() != nil: // interrupted while it waited
		return nil
	case err != nil:
		return err
	}
	defer r.Close()
	for ; flags.frames == 0 || *n < flags.frames; *n++ {
		if ctx.Err() != nil { // Next returns a frame if there is one, and of a fast writer there always is
			return nil
		}
		f, err := r.Next(ctx)
		if err == nil {
			err = each(f)
			f.Release()
		}
		switch {
		case err == io.EOF, err != nil && ctx.Err() != nil:
			return nil
		case errors.Is(err, frames.ErrWriterGone):
			return &codeError{exitUnavailable, fmt.Errorf("frames of %q: %w", name, err)}
		case err != nil:
			return fmt.Errorf("frames of %q: %w", name, err)
		}
	}
	return nil
}

// planesOf returns all planes of a frame.
func planesOf(f interface {
	Planes() int
	Plane(int) []byte
}) [][]byte {
	planes := make([][]byte, f.Planes())
	for i := range planes {
		planes[i] = f.Plane(i)
	}
	return planes
}

func (a *app) framesStatsCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "stats NAME",
		Short: "what the writer of a channel knows: frames, readers, how old frames are when they are read",
		Args:  oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			client := a.onlyRunning()
			defer client.Close()
			s, err := frames.StatsOf(cmd.Context(), args[0], frames.Via(client))
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(a.stdout, s)
			}
			return printStats(a.stdout, s)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printStats(out io.Writer, s frames.Stats) error {
	seconds := max(float64(s.Age)/1e9, 1e-9)
	fmt.Fprintf(out, "%s: %s, epoch %d, %d bytes a frame\n", s.Name, s.Format, s.Epoch, s.FrameSize)
	fmt.Fprintf(out, "%d frames in %.1f s (%.1f a second), %d dropped, %d readers evicted; %d slots, %d in use\n",
		s.Published, seconds, float64(s.Published)/seconds, s.Dropped, s.Evicted, s.Slots, s.SlotsUsed)
	if len(s.Readers) == 0 {
		_, err := fmt.Fprintln(out, "no readers")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "READER\tMODE\tRECEIVED\tMISSED\tBEHIND\tHELD\tAGE P50\tAGE P99")
	for _, r := range s.Readers {
		mode := r.Mode
		if r.Evicted {
			mode = "evicted"
		}
		fmt.Fprintf(table, "pid %d\t%s\t%d\t%d\t%d\t%d\t<%v\t<%v\n", r.PID, mode, r.Received, r.Missed, r.Behind, r.Held, time.Duration(r.P50), time.Duration(r.P99))
	}
	return table.Flush()
}

func (a *app) framesListCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "ls [PATTERN]",
		Short: "list the channels",
		Args:  arguments(0, 1, "at most one PATTERN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := a.client()
			defer client.Close()
			watcher, err := client.Watch(cmd.Context(), append(args, "*")[0])
			if err != nil {
				return err
			}
			defer watcher.Close()
			entries, err := listNames(cmd.Context(), watcher)
			if err != nil {
				return err
			}
			return a.listChannels(cmd.Context(), client, entries, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: one array")
	return cmd
}

// channelJSON is one channel in the output of frames ls --json.
type channelJSON struct {
	nameJSON
	Stats *frames.Stats `json:"stats"` // null: the writer did not answer
}

// writerTime is how long a writer may take to answer for the list.
const writerTime = time.Second

func (a *app) listChannels(ctx context.Context, client *switchboard.Client, entries []switchboard.Entry, asJSON bool) error {
	all := []channelJSON{}
	for _, e := range entries {
		if e.Kind != switchboard.Channel {
			continue
		}
		c := channelJSON{nameJSON: entryJSON(e)}
		within, cancel := context.WithTimeout(ctx, writerTime)
		if s, err := frames.StatsOf(within, e.Name, frames.Via(client)); err == nil {
			c.Stats = &s
		}
		cancel()
		all = append(all, c)
	}
	if asJSON {
		return printJSON(a.stdout, all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(a.stdout, "no channels")
		return err
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tFORMAT\tFRAMES\tREADERS\tWRITER")
	for _, c := range all {
		format, published, readers := "-", "-", "-"
		if s := c.Stats; s != nil {
			format, published, readers = s.Format, strconv.FormatUint(s.Published, 10), strconv.Itoa(len(s.Readers))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\tpid %d %s\n", c.Name, format, published, readers, c.Owner.PID, c.Owner.Exe)
	}
	return table.Flush()
}

// fileOrStdin opens a file, "-" being stdin.
func (a *app) fileOrStdin(path string) (io.Reader, func(), error) {
	if path == "-" {
		return a.stdin, func() {}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	return f, func() { f.Close() }, nil
}
