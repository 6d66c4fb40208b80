// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"fmt"
	"io"

	"github.com/switchboard-ipc/switchboard/frames"
)

// Layout is how pictures lie in a pipe: plane after plane, and so the pictures.
type Layout int

const (
	// Packed is without padding, as ffmpeg's -f rawvideo has it.
	Packed Layout = iota
	// GStreamer is that of buffers of video/x-raw that say nothing else (gst_video_info_set_format, libgstvideo): rows are rounded up to 4 bytes,
	// and where one row of chroma is for two of luma, the rows of luma to an even number.
	GStreamer
)

// ParseLayout knows "packed" and "gstreamer".
func ParseLayout(s string) (Layout, error) {
	switch s {
	case "packed":
		return Packed, nil
	case "gstreamer":
		return GStreamer, nil
	}
	return 0, fmt.Errorf("layout %q is unknown: there are packed and gstreamer", s)
}

// padding returns how many bytes follow each row of a plane, and how many its last.
func (l Layout) padding(f frames.Format, i int) (row, end int) {
	if l == Packed {
		return 0, 0
	}
	size := f.RowBytes(i)
	row = -size & 3
	if _, _, down := f.Sampling(len(f.Planes) - 1); down == 2 && f.Planes[i].Rows == f.Height {
		end = f.Height % 2 * (size + row)
	}
	return row, end
}

var zeros [4096]byte

// WriteRows writes the planes in a layout; padding is 0. A plane without rows, of a coded stream or a tensor, is written as it is. Of rows with
// padding, each is a call of w.
func WriteRows(w io.Writer, f frames.Format, planes [][]byte, l Layout) error {
	for i, p := range planes {
		if err := writeRows(w, f, i, p, l); err != nil {
			return err
		}
	}
	return nil
}

func writeRows(w io.Writer, f frames.Format, i int, plane []byte, l Layout) error {
	size, stride, rows := rowsOf(f, i, l, plane)
	row, end := l.padding(f, i)
	for r := range rows {
		if _, err := w.Write(plane[r*stride:][:size]); err != nil {
			return err
		}
		if row > 0 {
			if _, err := w.Write(zeros[:row]); err != nil {
				return err
			}
		}
	}
	for end > 0 {
		n, err := w.Write(zeros[:min(end, len(zeros))])
		if err != nil {
			return err
		}
		end -= n
	}
	return nil
}

// ReadRows reads what WriteRows writes. io.EOF: there is no more; io.ErrUnexpectedEOF: there is a part.
func ReadRows(r io.Reader, f frames.Format, planes [][]byte, l Layout) error {
	for i, p := range planes {
		size, stride, rows := rowsOf(f, i, l, p)
		row, end := l.padding(f, i)
		for j := range rows {
			_, err := io.ReadFull(r, p[j*stride:][:size])
			if err == nil && row > 0 {
				_, err = io.CopyN(io.Discard, r, int64(row))
			} else if err == io.EOF && i == 0 && j == 0 {
				return err
			}
			if err != nil {
				return unexpected(err)
			}
		}
		if end > 0 {
			if _, err := io.CopyN(io.Discard, r, int64(end)); err != nil {
				return unexpected(err)
			}
		}
	}
	return nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// rowsOf returns how a plane is written: so many times so many bytes. A plane that needs no padding, and has none, or has no rows, is one row.
func rowsOf(f frames.Format, i int, l Layout, plane []byte) (size, stride, rows int) {
	size, stride, rows = f.RowBytes(i), f.Planes[i].Stride, f.Planes[i].Rows
	if size == 0 {
		return len(plane), 0, 1
	}
	if row, _ := l.padding(f, i); row == 0 && size == stride {
		return size * rows, 0, 1
	}
	return size, stride, rows
}
