// SPDX-License-Identifier: Apache-2.0

// Package picture looks at frames as pictures: pixels of every format that can be looked at, test patterns, and what a
// terminal, a PNG or a Y4M file wants.
package picture

import (
	"fmt"
	"image"
	"image/color"

	"github.com/switchboard-ipc/switchboard/frames"
)

// Source is a frame whose pixels can be looked at one by one.
type Source struct {
	format frames.Format
	planes [][]byte
	at     func(x, y int) color.RGBA
	alpha  func(x, y int) byte // nil: the pictures have none
}

// New looks at the planes of a frame. Formats that this package does not know are an error.
func New(f frames.Format, planes [][]byte) (*Source, error) {
	s := &Source{format: f, planes: planes}
	if len(planes) == 0 || len(planes) < len(f.Planes) {
		return nil, fmt.Errorf("pictures of format %v have %d planes, not %d", f, len(f.Planes), len(planes))
	}
	switch f.FourCC {
	case frames.BGRA, frames.BGRX:
		s.at, s.alpha = s.packed(4, 2, 1, 0), s.alphaAt(frames.BGRA, 3)
	case frames.RGBA, frames.RGBX:
		s.at, s.alpha = s.packed(4, 0, 1, 2), s.alphaAt(frames.RGBA, 3)
	case frames.ARGB:
		s.at, s.alpha = s.packed(4, 1, 2, 3), s.alphaAt(frames.ARGB, 0)
	case frames.RGB:
		s.at = s.packed(3, 0, 1, 2)
	case frames.BGR:
		s.at = s.packed(3, 2, 1, 0)
	case frames.GRAY8:
		s.at = s.packed(1, 0, 0, 0)
	case frames.NV12, frames.NV16:
		s.at = s.semiplanar(0, 1)
	case frames.NV21:
		s.at = s.semiplanar(1, 0)
	case frames.P010:
		s.at = s.p010()
	case frames.I420, frames.I422, frames.I444:
		s.at = s.planar(1, 2)
	case frames.YV12:
		s.at = s.planar(2, 1)
	case frames.YUYV:
		s.at = s.macropixel(0, 1, 3)
	case frames.UYVY:
		s.at = s.macropixel(1, 0, 2)
	default:
		w, ok := wideOf(f.FourCC)
		if !ok {
			return nil, fmt.Errorf("pictures of format %v cannot be shown", f)
		}
		s.wide(w)
	}
	for i, p := range f.Planes {
		if len(planes[i]) < p.Stride*p.Rows {
			return nil, fmt.Errorf("plane %d of the frame is too short", i)
		}
	}
	return s, nil
}

// At returns a pixel.
func (s *Source) At(x, y int) color.RGBA { return s.at(x, y) }

// Image converts all of it.
func (s *Source) Image() *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, s.format.Width, s.format.Height))
	for y := range s.format.Height {
		for x := range s.format.Width {
			c := color.NRGBA(s.at(x, y))
			if s.alpha != nil {
				c.A = s.alpha(x, y)
			}
			m.SetNRGBA(x, y, c)
		}
	}
	return m
}

// alphaAt looks at the alpha of pixels of four bytes; nil if the format is not the one that has it, but its like without.
func (s *Source) alphaAt(with frames.FourCC, at int) func(x, y int) byte {
	if s.format.FourCC != with {
		return nil
	}
	p, stride := s.planes[0], s.format.Planes[0].Stride
	return func(x, y int) byte { return p[y*stride+4*x+at] }
}

func (s *Source) wide(w wide) {
	p, stride := s.planes[0], s.format.Planes[0].Stride
	s.at = func(x, y int) color.RGBA {
		c := w.get(p[y*stride+x*w.size:])
		return color.RGBA{c.R, c.G, c.B, 255}
	}
	if w.alpha {
		s.alpha = func(x, y int) byte { return w.get(p[y*stride+x*w.size:]).A }
	}
}

// p010 looks at the upper eight bits of samples of 16.
func (s *Source) p010() func(x, y int) color.RGBA {
	ys, cs := s.format.Planes[0].Stride, s.format.Planes[1].Stride
	return func(x, y int) color.RGBA {
		c := s.planes[1][y/2*cs+x/2*4:]
		return s.yuv(s.planes[0][y*ys+2*x+1], c[1], c[3])
	}
}

func (s *Source) packed(size, r, g, b int) func(x, y int) color.RGBA {
	p, stride := s.planes[0], s.format.Planes[0].Stride
	return func(x, y int) color.RGBA {
		px := p[y*stride+x*size:]
		return color.RGBA{px[r], px[g], px[b], 255}
	}
}

func (s *Source) semiplanar(u, v int) func(x, y int) color.RGBA {
	_, across, down := s.format.Sampling(1)
	ys, cs := s.format.Planes[0].Stride, s.format.Planes[1].Stride
	return func(x, y int) color.RGBA {
		c := s.planes[1][y/down*cs+x/across*2:]
		return s.yuv(s.planes[0][y*ys+x], c[u], c[v])
	}
}

func (s *Source) planar(u, v int) func(x, y int) color.RGBA {
	_, across, down := s.format.Sampling(1)
	ys, cs := s.format.Planes[0].Stride, s.format.Planes[1].Stride
	return func(x, y int) color.RGBA {
		at := y/down*cs + x/across
		return s.yuv(s.planes[0][y*ys+x], s.planes[u][at], s.planes[v][at])
	}
}

func (s *Source) macropixel(y0, u, v int) func(x, y int) color.RGBA {
	stride := s.format.Planes[0].Stride
	return func(x, y int) color.RGBA {
		px := s.planes[0][y*stride+x/2*4:]
		return s.yuv(px[y0+x%2*2], px[u], px[v])
	}
}

// yuv converts, in fixed point, by the matrix and range that the format says: BT.601 if it says nothing, of whatever size, since that is what
// ffmpeg takes and makes then, and a film cannot say.
func (s *Source) yuv(y, u, v byte) color.RGBA {
	return toRGB(matrixOf(s.format), y, u, v)
}

// matrix is a conversion in 1/65536.
type matrix struct{ offset, y, rv, gu, gv, bu int }

var (
	bt601  = matrix{16, 76309, 104597, -25675, -53279, 132201}
	bt709  = matrix{16, 76309, 117489, -13975, -34925, 138438}
	full60 = matrix{0, 65536, 91881, -22554, -46802, 116130}
	full70 = matrix{0, 65536, 103206, -12276, -30679, 121609}
)

func matrixOf(f frames.Format) matrix {
	is709 := f.Colour.Matrix == 1
	switch {
	case is709 && f.Colour.Range == 1:
		return full70
	case is709:
		return bt709
	case f.Colour.Range == 1:
		return full60
	}
	return bt601
}

func toRGB(m matrix, y, u, v byte) color.RGBA {
	l, d, e := (int(y)-m.offset)*m.y, int(u)-128, int(v)-128
	return color.RGBA{clamp(l + m.rv*e), clamp(l + m.gu*d + m.gv*e), clamp(l + m.bu*d), 255}
}

func clamp(n int) byte { return byte(min(max((n+32768)>>16, 0), 255)) }
