// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"errors"
	"fmt"
	"io"

	"github.com/switchboard-ipc/switchboard/frames"
)

// Y4M writes frames as YUV4MPEG2. YUV and grey are what they were, with their samples in another order where a film has another one; the
// rest is converted to 4:4:4.
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
	case frames.P010:
		space = "420p10 XYSCSS=420P10"
	case frames.I422, frames.NV16, frames.YUYV, frames.UYVY:
		space = "422"
	case frames.GRAY8:
		space = "mono"
	case frames.GRAY16:
		space = "mono16"
	}
	rate := f.Rate
	if rate.Num <= 0 || rate.Den <= 0 {
		rate = frames.Rate{Num: 25, Den: 1}
	}
	limits := "XCOLORRANGE=LIMITED"
	if grey := f.FourCC == frames.GRAY8 || f.FourCC == frames.GRAY16; f.Colour.Range == 1 || grey && f.Colour == (frames.Colour{}) {
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
	case frames.I420, frames.I422, frames.I444, frames.GRAY8, frames.GRAY16:
		return WriteRows(y.w, y.format, planes, Packed)
	case frames.YV12:
		f := y.format
		f.FourCC = frames.I420 // of the same planes in another order
		return WriteRows(y.w, f, [][]byte{planes[0], planes[2], planes[1]}, Packed)
	case frames.NV12, frames.NV16:
		return y.split(planes, 0, 1)
	case frames.NV21:
		return y.split(planes, 1, 0)
	case frames.P010:
		return y.tens(planes)
	case frames.YUYV:
		return errors.Join(y.pick(planes[0], 0, 0, 2, y.format.Width), y.pick(planes[0], 0, 1, 4, 0), y.pick(planes[0], 0, 3, 4, 0))
	case frames.UYVY:
		return errors.Join(y.pick(planes[0], 0, 1, 2, y.format.Width), y.pick(planes[0], 0, 0, 4, 0), y.pick(planes[0], 0, 2, 4, 0))
	}
	return y.convert(planes)
}

// split writes interleaved chroma as two planes.
func (y *Y4M) split(planes [][]byte, first, second int) error {
	err := writeRows(y.w, y.format, 0, planes[0], Packed)
	return errors.Join(err, y.pick(planes[1], 1, first, 2, 0), y.pick(planes[1], 1, second, 2, 0))
}

// pick writes every step-th byte of each row of a plane, from first on, at most so many; 0: all.
func (y *Y4M) pick(plane []byte, i, first, step, most int) error {
	p, size := y.format.Planes[i], y.format.RowBytes(i)
	for r := range p.Rows {
		row := plane[r*p.Stride : r*p.Stride+size]
		y.row = y.row[:0]
		for at := first; at < size && (most == 0 || len(y.row) < most); at += step {
			y.row = append(y.row, row[at])
		}
		if _, err := y.w.Write(y.row); err != nil {
			return err
		}
	}
	return nil
}

// tens writes samples of ten bits, which are the upper ones of 16 in the frame and the lower ones in a film.
func (y *Y4M) tens(planes [][]byte) error {
	for _, part := range []struct{ plane, first, step int }{{0, 0, 2}, {1, 0, 4}, {1, 2, 4}} {
		p, size := y.format.Planes[part.plane], y.format.RowBytes(part.plane)
		for r := range p.Rows {
			row := planes[part.plane][r*p.Stride : r*p.Stride+size]
			y.row = y.row[:0]
			for at := part.first; at < size; at += part.step {
				y.row = order.AppendUint16(y.row, order.Uint16(row[at:])>>6)
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
