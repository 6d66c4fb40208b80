// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"fmt"
	"io"

	"github.com/switchboard-ipc/switchboard/frames"
)

// Y4M writes frames as YUV4MPEG2. What is not planar YUV or grey is converted: semi-planar without loss, the rest to 4:4:4.
type Y4M struct {
	w      io.Writer
	format frames.Format
	row    []byte
}

// NewY4M writes the header for frames of a format.
func NewY4M(w io.Writer, f frames.Format) (*Y4M, error) {
	space := "444"
	switch f.FourCC {
	case frames.I420, frames.YV12, frames.NV12, frames.NV21:
		space = "420jpeg"
	case frames.I422, frames.NV16:
		space = "422"
	case frames.GRAY8:
		space = "mono"
	}
	rate := f.Rate
	if rate.Num <= 0 || rate.Den <= 0 {
		rate = frames.Rate{Num: 25, Den: 1}
	}
	limits := "XCOLORRANGE=LIMITED"
	if f.Colour.Range == 1 {
		limits = "XCOLORRANGE=FULL"
	}
	_, err := fmt.Fprintf(w, "YUV4MPEG2 W%d H%d F%d:%d Ip A1:1 C%s %s\n", f.Width, f.Height, rate.Num, rate.Den, space, limits)
	return &Y4M{w: w, format: f}, err
}

// Write writes one frame.
func (y *Y4M) Write(planes [][]byte) error {
	if _, err := io.WriteString(y.w, "FRAME\n"); err != nil {
		return err
	}
	switch y.format.FourCC {
	case frames.I420, frames.I422, frames.I444, frames.GRAY8:
		return WriteRows(y.w, y.format, planes)
	case frames.YV12:
		f := y.format
		f.FourCC = frames.I420 // of the same planes in another order
		return WriteRows(y.w, f, [][]byte{planes[0], planes[2], planes[1]})
	case frames.NV12, frames.NV16:
		return y.split(planes, 0, 1)
	case frames.NV21:
		return y.split(planes, 1, 0)
	}
	return y.convert(planes)
}

// split writes interleaved chroma as two planes.
func (y *Y4M) split(planes [][]byte, order ...int) error {
	f := y.format
	if err := writeRows(y.w, f, 0, planes[0]); err != nil {
		return err
	}
	for _, first := range order {
		p, size := f.Planes[1], f.RowBytes(1)
		for r := range p.Rows {
			row := planes[1][r*p.Stride : r*p.Stride+size]
			y.row = y.row[:0]
			for i := first; i < size; i += 2 {
				y.row = append(y.row, row[i])
			}
			if _, err := y.w.Write(y.row); err != nil {
				return err
			}
		}
	}
	return nil
}

func (y *Y4M) convert(planes [][]byte) error {
	f := y.format
	s, err := New(f, planes)
	if err != nil {
		return err
	}
	n := f.Width * f.Height
	if len(y.row) != 3*n {
		y.row = make([]byte, 3*n)
	}
	for i := range n {
		y.row[i], y.row[n+i], y.row[2*n+i] = ToYUV(f, s.At(i%f.Width, i/f.Width))
	}
	_, err = y.w.Write(y.row)
	return err
}

// WriteRows writes the planes one after the other, without padding. A plane without rows, of a coded stream or a tensor, is written as it is.
func WriteRows(w io.Writer, f frames.Format, planes [][]byte) error {
	for i, p := range planes {
		if err := writeRows(w, f, i, p); err != nil {
			return err
		}
	}
	return nil
}

func writeRows(w io.Writer, f frames.Format, i int, plane []byte) error {
	size, stride := f.RowBytes(i), f.Planes[i].Stride
	if size == 0 || size == stride {
		if size > 0 {
			plane = plane[:size*f.Planes[i].Rows]
		}
		_, err := w.Write(plane)
		return err
	}
	for r := range f.Planes[i].Rows {
		if _, err := w.Write(plane[r*stride : r*stride+size]); err != nil {
			return err
		}
	}
	return nil
}

// ReadRows reads what WriteRows writes. io.EOF: there is no more; io.ErrUnexpectedEOF: there is a part.
func ReadRows(r io.Reader, f frames.Format, planes [][]byte) error {
	for i, plane := range planes {
		size, stride := f.RowBytes(i), f.Planes[i].Stride
		rows := f.Planes[i].Rows
		if size == 0 || size == stride {
			if size > 0 {
				plane = plane[:size*rows]
			}
			size, rows = len(plane), 1
		}
		for j := range rows {
			if _, err := io.ReadFull(r, plane[j*stride:][:size]); err != nil {
				if err == io.EOF && (i > 0 || j > 0) {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
		}
	}
	return nil
}
