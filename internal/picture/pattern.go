// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"bytes"
	"fmt"
	"image/color"

	"github.com/switchboard-ipc/switchboard/frames"
)

// Pattern draws a test picture: bars of colour, a ramp of grey, and a box that moves. What it draws in a slot is little more than the
// box, once it has drawn the rest there.
type Pattern struct {
	format frames.Format
	base   [][]byte // the picture, and the same inverted, for the box
	box    [][]byte
	drawn  map[*byte]int // by slot: where the box is
}

// NewPattern prepares a picture of a format. Formats that this package cannot draw are an error.
func NewPattern(f frames.Format) (*Pattern, error) {
	p := &Pattern{format: f, drawn: map[*byte]int{}}
	for i := range f.Planes {
		if bytes, _, _ := f.Sampling(i); bytes == 0 {
			return nil, fmt.Errorf("a test pattern of format %v cannot be drawn", f)
		}
	}
	var err error
	if p.base, err = paint(f, bars(f)); err != nil {
		return nil, err
	}
	inverted := func(x, y int) color.RGBA {
		c := bars(f)(x, y)
		return color.RGBA{255 - c.R, 255 - c.G, 255 - c.B, 255}
	}
	p.box, err = paint(f, inverted)
	return p, err
}

// rampAt is the first row of the ramp.
func rampAt(f frames.Format) int { return f.Height * 3 / 4 }

// bars is the picture without the box.
func bars(f frames.Format) func(x, y int) color.RGBA {
	colours := []color.RGBA{
		{235, 235, 235, 255}, {235, 235, 16, 255}, {16, 235, 235, 255}, {16, 235, 16, 255},
		{235, 16, 235, 255}, {235, 16, 16, 255}, {16, 16, 235, 255}, {16, 16, 16, 255},
	}
	return func(x, y int) color.RGBA {
		if y >= rampAt(f) {
			g := byte(x * 255 / max(f.Width-1, 1))
			return color.RGBA{g, g, g, 255}
		}
		return colours[x*len(colours)/f.Width]
	}
}

// Draw draws picture n into the planes of a slot.
func (p *Pattern) Draw(planes [][]byte, n int) {
	key := &planes[0][0]
	if before, ok := p.drawn[key]; ok {
		p.copyBox(planes, p.base, before)
	} else {
		for i := range planes {
			copy(planes[i], p.base[i])
		}
	}
	p.copyBox(planes, p.box, n)
	p.drawn[key] = n
}

// copyBox copies the place where the box of picture n is. Its corners are at multiples of four, so that every plane has it whole.
func (p *Pattern) copyBox(to, from [][]byte, n int) {
	f := p.format
	w, h := max(f.Width/8&^3, min(f.Width, 4)), max(f.Height/8&^3, min(f.Height, 4))
	x, y := bounce(n*8, (f.Width-w)&^3)&^3, bounce(n*4, (f.Height-h)&^3)&^3
	for i, plane := range f.Planes {
		bytes, across, down := f.Sampling(i)
		left, right := x/across*bytes, min((x+w+across-1)/across*bytes, f.RowBytes(i))
		for row := y / down; row < min((y+h+down-1)/down, plane.Rows); row++ {
			at := row * plane.Stride
			copy(to[i][at+left:at+right], from[i][at+left:at+right])
		}
	}
}

// bounce goes from 0 to most and back, again and again.
func bounce(n, most int) int {
	if most <= 0 {
		return 0
	}
	if n %= 2 * most; n > most {
		return 2*most - n
	}
	return n
}

// paint draws a whole picture, of bars above and a ramp below, into planes of a format. Rows of a kind are equal, so that one of each is drawn.
func paint(f frames.Format, at func(x, y int) color.RGBA) ([][]byte, error) {
	planes := make([][]byte, len(f.Planes))
	for i, p := range f.Planes {
		planes[i] = make([]byte, p.Size)
	}
	set, err := setter(f, planes)
	if err != nil {
		return nil, err
	}
	var rows [2][][]byte // of each plane one of the bars, and one of the ramp
	for kind, y := range []int{0, f.Height - 1} {
		for x := range f.Width {
			set(x, y, at(x, y))
		}
		for i, p := range f.Planes {
			_, _, down := f.Sampling(i)
			rows[kind] = append(rows[kind], bytes.Clone(planes[i][y/down*p.Stride:][:p.Stride]))
		}
	}
	for i, p := range f.Planes {
		_, _, down := f.Sampling(i)
		for r := range p.Rows {
			kind := 0
			if min(r*down+down, f.Height)-1 >= rampAt(f) {
				kind = 1
			}
			copy(planes[i][r*p.Stride:], rows[kind][i])
		}
	}
	return planes, nil
}

// setter returns a function that sets a pixel. Chroma is that of the last pixel of its group.
func setter(f frames.Format, planes [][]byte) (func(x, y int, c color.RGBA), error) {
	p0, stride := planes[0], f.Planes[0].Stride
	packed := func(size, r, g, b, a int) func(x, y int, c color.RGBA) {
		return func(x, y int, c color.RGBA) {
			px := p0[y*stride+x*size:]
			px[r], px[g], px[b] = c.R, c.G, c.B
			if a >= 0 {
				px[a] = 255
			}
		}
	}
	chroma := func(set func(cx, cy int, u, v byte)) func(x, y int, c color.RGBA) {
		_, across, down := f.Sampling(1)
		bytes, _, _ := f.Sampling(0) // the last of them is the high one
		return func(x, y int, c color.RGBA) {
			l, u, v := ToYUV(f, c)
			p0[y*stride+x*bytes+bytes-1] = l
			set(x/across, y/down, u, v)
		}
	}
	interleaved := func(first, second int) func(x, y int, c color.RGBA) {
		return chroma(func(cx, cy int, u, v byte) {
			at := planes[1][cy*f.Planes[1].Stride+cx*2:]
			at[first], at[second] = u, v
		})
	}
	planar := func(first, second int) func(x, y int, c color.RGBA) {
		return chroma(func(cx, cy int, u, v byte) {
			at := cy*f.Planes[1].Stride + cx
			planes[first][at], planes[second][at] = u, v
		})
	}
	macropixel := func(y0, u0, v0 int) func(x, y int, c color.RGBA) {
		return func(x, y int, c color.RGBA) {
			px := p0[y*stride+x/2*4:]
			px[y0+x%2*2], px[u0], px[v0] = ToYUV(f, c)
		}
	}
	switch f.FourCC {
	case frames.BGRA, frames.BGRX:
		return packed(4, 2, 1, 0, 3), nil
	case frames.RGBA, frames.RGBX:
		return packed(4, 0, 1, 2, 3), nil
	case frames.ARGB:
		return packed(4, 1, 2, 3, 0), nil
	case frames.RGB:
		return packed(3, 0, 1, 2, -1), nil
	case frames.BGR:
		return packed(3, 2, 1, 0, -1), nil
	case frames.GRAY8:
		return func(x, y int, c color.RGBA) { p0[y*stride+x] = grey(c) }, nil
	case frames.P010:
		return chroma(func(cx, cy int, u, v byte) {
			at := planes[1][cy*f.Planes[1].Stride+cx*4:]
			at[1], at[3] = u, v
		}), nil
	case frames.NV12, frames.NV16:
		return interleaved(0, 1), nil
	case frames.NV21:
		return interleaved(1, 0), nil
	case frames.I420, frames.I422, frames.I444:
		return planar(1, 2), nil
	case frames.YV12:
		return planar(2, 1), nil
	case frames.YUYV:
		return macropixel(0, 1, 3), nil
	case frames.UYVY:
		return macropixel(1, 0, 2), nil
	}
	if w, ok := wideOf(f.FourCC); ok {
		return func(x, y int, c color.RGBA) { w.put(p0[y*stride+x*w.size:], c) }, nil
	}
	return nil, fmt.Errorf("a test pattern of format %v cannot be drawn", f)
}

func grey(c color.RGBA) byte { return byte((int(c.R)*299 + int(c.G)*587 + int(c.B)*114 + 500) / 1000) }

// ToYUV converts a pixel by the matrix and range of a format.
func ToYUV(f frames.Format, c color.RGBA) (y, u, v byte) {
	kr, kb := 0.299, 0.114
	if m := matrixOf(f); m == bt709 || m == full70 {
		kr, kb = 0.2126, 0.0722
	}
	r, g, b := float64(c.R), float64(c.G), float64(c.B)
	l := kr*r + (1-kr-kb)*g + kb*b
	d, e := (b-l)/(2*(1-kb)), (r-l)/(2*(1-kr))
	if f.Colour.Range == 1 {
		return byte(l + 0.5), byte(min(d+128.5, 255)), byte(min(e+128.5, 255))
	}
	return byte(16.5 + l*219/255), byte(128.5 + d*224/255), byte(128.5 + e*224/255)
}
