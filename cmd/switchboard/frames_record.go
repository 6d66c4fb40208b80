// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard/frames"
	"github.com/switchboard-ipc/switchboard/internal/picture"
)

func (a *app) framesRecordCommand() *cobra.Command {
	var flags readFlags
	cmd := &cobra.Command{
		Use:   "record NAME {FILE.y4m | FILE.png}",
		Short: "record pictures: a film as .y4m, or the newest picture as .png",
		Long: `Record writes the pictures of a channel to a file until the writer ends it or until it is interrupted: as YUV4MPEG2, which ffmpeg and
others read; or one picture as PNG. A film has every frame, for which the writer waits, but for no longer than a second. In a .y4m file YUV and grey are what they were, and the rest is converted to 4:4:4.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := arguments(2, 2, "a NAME and a FILE")(cmd, args); err != nil {
				return err
			}
			if ext := filepath.Ext(args[1]); ext != ".y4m" && ext != ".png" {
				return fmt.Errorf("record writes .y4m and .png, not %q", args[1])
			}
			return oneName(cmd, args[:1])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return a.record(ctx, args[0], args[1], flags)
		},
	}
	flags.add(cmd)
	return cmd
}

func (a *app) record(ctx context.Context, name, path string, flags readFlags) error {
	file := &lateFile{path: path}
	out := bufio.NewWriterSize(file, 1<<20)
	write, mode := recordY4M(out), frames.Lossless
	if strings.HasSuffix(path, ".png") {
		mode, flags.frames = frames.Latest, 1
		write = func(f *frames.Frame) error {
			s, err := picture.New(f.Format(), planesOf(f))
			if err != nil {
				return err
			}
			return png.Encode(out, s.Image())
		}
	}
	n := 0
	missed, err := a.read(ctx, name, flags, mode, func(f *frames.Frame) error {
		n++
		return write(f)
	})
	if ferr := out.Flush(); err == nil {
		err = ferr
	}
	if cerr := file.close(); err == nil {
		err = cerr
	}
	if err == nil && n == 0 {
		a.say("no frames came; %s was not written", path)
	} else if err == nil {
		a.say("%d frames written to %s, %d missed", n, path, missed)
	}
	return err
}

// lateFile is made when something is written, so that a recording of nothing spoils no file that was there.
type lateFile struct {
	path string
	file *os.File
}

func (f *lateFile) Write(b []byte) (int, error) {
	if f.file == nil {
		var err error
		if f.file, err = os.Create(f.path); err != nil {
			return 0, err
		}
	}
	return f.file.Write(b)
}

func (f *lateFile) close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

// recordY4M writes frames to a film; a film has one format.
func recordY4M(out io.Writer) func(f *frames.Frame) error {
	var film *picture.Y4M
	var format frames.Format
	return func(f *frames.Frame) error {
		if film == nil {
			if _, err := picture.New(f.Format(), planesOf(f)); err != nil {
				return err
			}
			var err error
			format = f.Format()
			if film, err = picture.NewY4M(out, format); err != nil {
				return err
			}
		} else if !f.Format().Equal(format) {
			return fmt.Errorf("the format changed to %v, and a film has one", f.Format())
		}
		return film.Write(planesOf(f))
	}
}

func (a *app) framesPipeCommand() *cobra.Command {
	var flags readFlags
	layout := "packed"
	cmd := &cobra.Command{
		Use:   "pipe NAME",
		Short: "write the pixels to stdout, as ffmpeg and gstreamer read them",
		Long: `Pipe writes each frame to stdout: plane after plane, rows without padding, or with --layout gstreamer rounded up
as GStreamer has them. It says on stderr what the format is, and again when that
changes. The writer waits for what reads them, but for no longer than a second; from then on frames are missed.`,
		Example: `  switchboard frames pipe com.example.camera | ffplay -f rawvideo -pixel_format bgra -video_size 1920x1080 -
  switchboard frames pipe com.example.camera --layout gstreamer | gst-launch-1.0 fdsrc ! rawvideoparse format=nv12 width=1366 height=768 ! \
    videoconvert ! autovideosink`,
		Args: oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := parseLayout(layout)
			if err != nil {
				return err
			}
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			ctx, stopReading := whileRead(ctx, a.stdout)
			defer stopReading()
			out := bufio.NewWriterSize(a.stdout, 1<<16)
			var epoch uint32
			missed, err := a.read(ctx, args[0], flags, frames.Lossless, func(f *frames.Frame) error {
				if f.Epoch != epoch {
					epoch = f.Epoch
					a.say("frames of %q are %v", args[0], f.Format())
				}
				err := picture.WriteRows(out, f.Format(), planesOf(f), l)
				if err == nil {
					err = out.Flush()
				}
				return err
			})
			if missed > 0 {
				a.say("%d frames were missed", missed)
			}
			if errors.Is(err, io.ErrClosedPipe) {
				err = nil
			}
			return err
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&layout, "layout", layout, layoutUsage)
	return cmd
}
