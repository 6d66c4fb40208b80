// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard/frames"
	"github.com/switchboard-ipc/switchboard/internal/picture"
)

// maxSlots is how many slots a writer can work with: readers may hold the rest of 1,024.
const maxSlots = 1024 - 32*4

type publishFlags struct {
	pattern, raw, format string
	layout               string
	slots, frames        int
	wait                 bool
}

func (a *app) framesPublishCommand() *cobra.Command {
	var flags publishFlags
	cmd := &cobra.Command{
		Use:   "publish NAME {--test-pattern WxH@FPS[:FOURCC] | --raw FILE --format WxH@FPS:FOURCC}",
		Short: "publish a test pattern, or pictures from a pipe",
		Long: `Publish gives itself NAME and publishes frames under it: a test pattern, at its rate, until it is interrupted; or raw pictures as ffmpeg
and gstreamer write them, from a file or, with -, from stdin, as fast as they come: plane after plane, rows without padding as in ffmpeg's
rawvideo, or with --layout gstreamer rounded up as GStreamer does.
FOURCC is a code of DRM such as AR24, or BGRA, RGBA, NV12, I420, GRAY8 and others; a test pattern is BGRA unless it is said.`,
		Example: `  switchboard frames publish com.example.camera --test-pattern 3840x2160@60:NV12
  ffmpeg -f lavfi -i testsrc2 -f rawvideo -pix_fmt bgra - | switchboard frames publish com.example.test --raw - --format 320x240@25:BGRA
  gst-launch-1.0 -q videotestsrc ! video/x-raw,format=I420,width=1366,height=768 ! fdsink | switchboard frames publish com.example.test \
    --raw - --format 1366x768@30:I420 --layout gstreamer`,
		Args: func(cmd *cobra.Command, args []string) error {
			if (flags.pattern == "") == (flags.raw == "") {
				return errors.New("publish wants --test-pattern, or --raw and --format")
			}
			if flags.raw != "" && flags.format == "" {
				return errors.New("publish --raw wants --format, such as 1920x1080@60:NV12")
			}
			return oneName(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return a.publish(ctx, args[0], flags)
		},
	}
	cmd.Flags().StringVar(&flags.pattern, "test-pattern", "", "publish bars of colour with a box that moves, of this format: WxH@FPS[:FOURCC]")
	cmd.Flags().StringVar(&flags.raw, "raw", "", "publish what is in this file; - is stdin")
	cmd.Flags().StringVar(&flags.format, "format", "", "of what --raw reads: WxH@FPS:FOURCC")
	cmd.Flags().StringVar(&flags.layout, "layout", "packed", layoutUsage)
	cmd.Flags().IntVar(&flags.slots, "slots", 4, "how many slots to work with")
	cmd.Flags().IntVar(&flags.frames, "frames", 0, "end after so many frames")
	cmd.Flags().BoolVar(&flags.wait, "wait", false, "begin when there is a reader")
	return cmd
}

func (a *app) publish(ctx context.Context, name string, flags publishFlags) error {
	spec := flags.pattern
	if flags.raw != "" {
		spec = flags.format
	}
	format, err := parseFormat(spec)
	if err != nil {
		return err
	}
	layout, err := parseLayout(flags.layout)
	if err != nil {
		return err
	}
	var fill func(planes [][]byte, n int) error
	if flags.raw != "" {
		in, done, err := a.fileOrStdin(flags.raw)
		if err != nil {
			return err
		}
		defer done()
		r := bufio.NewReaderSize(in, 1<<16)
		fill = interruptible(ctx, func(planes [][]byte, _ int) error { return picture.ReadRows(r, format, planes, layout) })
	} else {
		p, err := picture.NewPattern(format)
		if err != nil {
			return usagef("%w", err)
		}
		if fill, err = paced(ctx, format.Rate, p.Draw); err != nil {
			return err
		}
	}
	if flags.slots < 2 || flags.slots > maxSlots {
		return usagef("%d slots: there must be 2 to %d", flags.slots, maxSlots)
	}
	client := a.client()
	defer client.Close()
	w, err := frames.Create(ctx, name, format, frames.Slots(flags.slots), frames.Via(client))
	if err != nil {
		return err
	}
	defer w.Close()
	a.say("publishing %v as %q", format, name)
	for flags.wait && w.Readers() == 0 && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	for n := 0; (flags.frames == 0 || n < flags.frames) && ctx.Err() == nil; n++ {
		l, err := w.Loan(ctx)
		if err == nil {
			err = fill(planesOf(l), n)
		}
		switch {
		case err == nil:
			if err := l.Publish(); err != nil {
				return err
			}
		case ctx.Err() != nil: // the loan may still be written to
			return nil
		case err == io.EOF:
			l.Drop()
			return nil
		case err == io.ErrUnexpectedEOF:
			l.Drop()
			a.say("the last picture is cut off: the format, or --layout, may be another one")
			return nil
		default:
			return err
		}
	}
	return nil
}

// interruptible makes a function that ends with ctx, even where fill waits for input that does not come. Then fill goes on.
func interruptible(ctx context.Context, fill func([][]byte, int) error) func([][]byte, int) error {
	return func(planes [][]byte, n int) error {
		filled := make(chan error, 1)
		go func() { filled <- fill(planes, n) }()
		select {
		case err := <-filled:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// paced makes a function that draws at a rate: 25 frames a second unless it says something.
func paced(ctx context.Context, rate frames.Rate, draw func([][]byte, int)) (func([][]byte, int) error, error) {
	if rate.Num == 0 {
		rate = frames.Rate{Num: 25, Den: 1}
	}
	start := time.Now()
	return func(planes [][]byte, n int) error {
		draw(planes, n)
		at := start.Add(time.Duration(n) * time.Second * time.Duration(rate.Den) / time.Duration(rate.Num))
		wait := time.Until(at)
		if wait < -time.Second { // too slow, or stopped meanwhile: go on from here
			start = start.Add(-wait)
		}
		select {
		case <-time.After(wait):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, nil
}
