// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"bytes"
	"errors"
	"image/color"
	"io"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/frames"
)

func format(t *testing.T, code frames.FourCC, w, h int) frames.Format {
	t.Helper()
	f, err := (frames.Format{FourCC: code, Width: w, Height: h}).Complete()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func planes(f frames.Format) [][]byte {
	p := make([][]byte, len(f.Planes))
	for i := range p {
		p[i] = make([]byte, f.Planes[i].Size)
	}
	return p
}

var drawable = []frames.FourCC{
	frames.BGRA, frames.BGRX, frames.RGBA, frames.RGBX, frames.ARGB, frames.RGB, frames.BGR, frames.GRAY8, frames.NV12, frames.NV16, frames.NV21,
	frames.I420, frames.YV12, frames.I422, frames.I444, frames.YUYV, frames.UYVY, frames.GRAY16, frames.P010, frames.RGB565, frames.BGR10A2,
	frames.RGB10A2, frames.RGBA16, frames.RGBA16F,
}

func near(a, b color.RGBA, by int) bool {
	d := func(x, y byte) bool { return max(int(x)-int(y), int(y)-int(x)) <= by }
	return d(a.R, b.R) && d(a.G, b.G) && d(a.B, b.B)
}

// TestPattern: what is drawn in any format looks the same when it is looked at, also of odd sizes, and wherever the box has been.
func TestPattern(t *testing.T) {
	for _, code := range drawable {
		for _, size := range [][2]int{{64, 48}, {37, 23}, {5, 3}} {
			f := format(t, code, size[0], size[1])
			p, err := NewPattern(f)
			if err != nil {
				t.Fatal(err)
			}
			to := planes(f)
			for n := range 50 {
				p.Draw(to, n)
			}
			fresh := planes(f)
			q, err := NewPattern(f)
			if err != nil {
				t.Fatal(err)
			}
			q.Draw(fresh, 49)
			for i := range to {
				if !bytes.Equal(to[i], fresh[i]) {
					t.Errorf("%v: plane %d is not what it would be if it were drawn anew", f, i)
				}
			}
			s, err := New(f, p.base)
			if err != nil {
				t.Fatal(err)
			}
			for y := range f.Height { // every row is what its pixels are
				want := planes(f)
				set, err := setter(f, want)
				if err != nil {
					t.Fatal(err)
				}
				for x := range f.Width {
					set(x, y, bars(f)(x, y))
				}
				at, stride := y*f.Planes[0].Stride, f.Planes[0].Stride
				if !bytes.Equal(p.base[0][at:at+stride], want[0][at:at+stride]) {
					t.Errorf("%v: row %d is not what its pixels are", f, y)
				}
			}
			got, want := s.At(size[0]/16, 1), bars(f)(size[0]/16, 1)
			if code == frames.GRAY8 || code == frames.GRAY16 {
				g := grey(want)
				want = color.RGBA{g, g, g, 255}
			}
			if size[0] == 64 && !near(got, want, 4) {
				t.Errorf("%v: a pixel is %v, and was %v", f, got, want)
			}
		}
	}
	coded := frames.Format{FourCC: 'H' | '2'<<8 | '6'<<16 | '4'<<24, Width: 4, Height: 4, Planes: []frames.Plane{{Size: 100}}}
	if _, err := NewPattern(coded); err == nil {
		t.Error("a pattern was drawn in a format that is not known")
	}
}

// TestAlpha: a picture that has alpha keeps it, and its colours, as an image.
func TestAlpha(t *testing.T) {
	for code, want := range map[frames.FourCC]color.NRGBA{
		frames.BGRA: {3, 2, 1, 4}, frames.RGBA: {1, 2, 3, 4}, frames.ARGB: {2, 3, 4, 1}, frames.BGRX: {3, 2, 1, 255}, frames.RGBX: {1, 2, 3, 255},
	} {
		f := format(t, code, 1, 1)
		p := planes(f)
		copy(p[0], []byte{1, 2, 3, 4})
		s, err := New(f, p)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Image().NRGBAAt(0, 0); got != want {
			t.Errorf("%v: %v, not %v", f, got, want)
		}
	}
}

func TestHalf(t *testing.T) {
	for n := range 256 {
		if got := fromHalf(toHalf(byte(n))); int(got) != n {
			t.Errorf("%d came back as %d", n, got)
		}
	}
	for h, want := range map[uint16]byte{0x3c00: 255, 0x7c00: 255, 0x7e00: 0, 0xbc00: 0, 0x3800: 128, 0x0001: 0, 0x8000: 0} {
		if got := fromHalf(h); got != want {
			t.Errorf("%#04x is %d, not %d", h, got, want)
		}
	}
}

func TestRows(t *testing.T) {
	for _, l := range []Layout{Packed, GStreamer} {
		for _, code := range drawable {
			testRows(t, code, l)
		}
	}
}

func testRows(t *testing.T, code frames.FourCC, l Layout) {
	t.Helper()
	f := format(t, code, 21, 9)
	from, to := planes(f), planes(f)
	for i := range from {
		for j := range from[i] {
			if j%f.Planes[i].Stride < f.RowBytes(i) {
				from[i][j] = byte(j*5 + i)
			}
		}
	}
	var b bytes.Buffer
	if err := WriteRows(&b, f, from, l); err != nil {
		t.Fatal(err)
	}
	cut := b.Len() - 1
	if err := ReadRows(bytes.NewReader(b.Bytes()[:cut]), f, planes(f), l); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v: a picture that is cut off: %v", f, err)
	}
	if err := ReadRows(&b, f, to, l); err != nil {
		t.Fatal(err)
	}
	for i := range from {
		if !bytes.Equal(from[i], to[i]) {
			t.Errorf("%v: plane %d came back as something else", f, i)
		}
	}
	if err := ReadRows(&b, f, to, l); err != io.EOF {
		t.Errorf("%v: at the end: %v", f, err)
	}
}

// The sizes are those of GStreamer's buffers (gst_video_info_set_format, GStreamer 1.22).
func TestGStreamersLayout(t *testing.T) {
	for _, c := range []struct {
		code                frames.FourCC
		width, height, size int
	}{
		{frames.NV12, 1280, 720, 1382400}, {frames.NV12, 321, 241, 117612}, {frames.NV12, 322, 242, 117612}, {frames.I420, 1366, 768, 1575936},
		{frames.GRAY8, 321, 241, 78084}, {frames.RGB, 321, 241, 232324}, {frames.BGRA, 321, 241, 309444},
	} {
		f := format(t, c.code, c.width, c.height)
		var b bytes.Buffer
		if err := WriteRows(&b, f, planes(f), GStreamer); err != nil || b.Len() != c.size {
			t.Errorf("%v: %d bytes, %v, not %d", f, b.Len(), err, c.size)
		}
	}
}

func TestY4M(t *testing.T) {
	sizes := map[frames.FourCC]int{frames.I420: 21*9 + 2*11*5, frames.NV12: 21*9 + 2*11*5, frames.I422: 21*9 + 2*11*9, frames.GRAY8: 21 * 9, frames.BGRA: 3 * 21 * 9,
		frames.YUYV: 21*9 + 2*11*9, frames.UYVY: 21*9 + 2*11*9, frames.P010: 2 * (21*9 + 2*11*5), frames.GRAY16: 2 * 21 * 9}
	for code, size := range sizes {
		f := format(t, code, 21, 9)
		var b bytes.Buffer
		y, err := NewY4M(&b, f)
		if err != nil {
			t.Fatal(err)
		}
		header := b.Len()
		if err := y.Write(planes(f)); err != nil {
			t.Fatal(err)
		}
		if got := b.Len() - header - len("FRAME\n"); got != size {
			t.Errorf("%v: a frame has %d bytes, and should have %d", f, got, size)
		}
	}
}

func TestTerminal(t *testing.T) {
	f := format(t, frames.RGBA, 4, 4)
	p := planes(f)
	for y := range 4 {
		for x := range 4 {
			copy(p[0][y*f.Planes[0].Stride+4*x:], []byte{byte(255 * (y / 2)), 0, 10, 255})
		}
	}
	s, err := New(f, p)
	if err != nil {
		t.Fatal(err)
	}
	want := "\x1b[38;2;0;0;10m\x1b[48;2;255;0;10m▀▀\x1b[0m\n"
	if got := string(s.Blocks(nil, 2, 5)); got != want {
		t.Errorf("%q, not %q", got, want)
	}
	got := string(s.Sixel(nil, 4, 4))
	if !strings.HasPrefix(got, "\x1bP0;1q\"1;1;4;4#0;2;0;0;0#1;") || !strings.HasSuffix(got, "#0!4B$#180!4K$-\x1b\\") {
		t.Errorf("%q", got[max(0, len(got)-60):])
	}
}
