// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"image/color"
	"strconv"
)

// Fit returns the largest size of the picture's proportions in so many pixels.
func (s *Source) Fit(width, height int) (int, int) {
	w, h := s.format.Width, s.format.Height
	if w*height > h*width {
		return width, max(h*width/w, 1)
	}
	return max(w*height/h, 1), height
}

// Blocks appends the picture as half blocks: each character is two pixels, one above the other. Lines end with newline.
func (s *Source) Blocks(b []byte, columns, rows int) []byte {
	w, h := s.Fit(columns, 2*rows)
	h += h % 2
	for y := 0; y < h; y += 2 {
		var top, bottom color.RGBA
		for x := range w {
			t, l := s.cell(x, y, w, h), s.cell(x, y+1, w, h)
			if x == 0 || t != top {
				b = escape(b, "38", t)
			}
			if x == 0 || l != bottom {
				b = escape(b, "48", l)
			}
			top, bottom = t, l
			b = append(b, "▀"...)
		}
		b = append(b, "\x1b[0m\n"...)
	}
	return b
}

func escape(b []byte, what string, c color.RGBA) []byte {
	b = append(append(append(b, "\x1b["...), what...), ";2"...)
	for _, n := range []byte{c.R, c.G, c.B} {
		b = strconv.AppendInt(append(b, ';'), int64(n), 10)
	}
	return append(b, 'm')
}

// cell is the mean of a few pixels where one of the small picture is.
func (s *Source) cell(x, y, w, h int) color.RGBA {
	const across = 3
	var r, g, b int
	for i := range across {
		for j := range across {
			px := (x*2*across + 2*i + 1) * s.format.Width / (2 * across * w)
			py := (y*2*across + 2*j + 1) * s.format.Height / (2 * across * h)
			c := s.at(min(px, s.format.Width-1), min(py, s.format.Height-1))
			r, g, b = r+int(c.R), g+int(c.G), b+int(c.B)
		}
	}
	const n = across * across
	return color.RGBA{byte(r / n), byte(g / n), byte(b / n), 255}
}

// Sixel appends the picture for terminals with DEC's graphics, in the 216 colours of a cube.
func (s *Source) Sixel(b []byte, width, height int) []byte {
	w, h := s.Fit(width, height)
	b = append(b, "\x1bP0;1q\"1;1;"...)
	b = append(strconv.AppendInt(append(strconv.AppendInt(b, int64(w), 10), ';'), int64(h), 10), '#')
	for i := range 216 {
		if i > 0 {
			b = append(b, '#')
		}
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, ";2"...)
		for _, n := range []int{i / 36, i / 6 % 6, i % 6} {
			b = strconv.AppendInt(append(b, ';'), int64(n*20), 10)
		}
	}
	cells := make([]byte, 6*w)
	for top := 0; top < h; top += 6 {
		var used [216]bool
		for i := range cells {
			x, y := i%w, top+i/w
			if cells[i] = 255; y < h {
				c := s.cell(x, y, w, h)
				cells[i] = byte((int(c.R)+25)/51*36 + (int(c.G)+25)/51*6 + (int(c.B)+25)/51)
				used[cells[i]] = true
			}
		}
		b = s.band(b, cells, w, used)
	}
	return append(b, "\x1b\\"...)
}

// band appends six rows: for each colour the places where it is.
func (s *Source) band(b, cells []byte, w int, used [216]bool) []byte {
	for colour, on := range used {
		if !on {
			continue
		}
		b = strconv.AppendInt(append(b, '#'), int64(colour), 10)
		for x := 0; x < w; {
			bits, run := column(cells, w, x, colour), 1
			for x+run < w && column(cells, w, x+run, colour) == bits {
				run++
			}
			if run > 3 {
				b = append(strconv.AppendInt(append(b, '!'), int64(run), 10), 63+bits)
			} else {
				for range run {
					b = append(b, 63+bits)
				}
			}
			x += run
		}
		b = append(b, '$')
	}
	return append(b, '-')
}

func column(cells []byte, w, x, colour int) (bits byte) {
	for j := range 6 {
		if int(cells[j*w+x]) == colour {
			bits |= 1 << j
		}
	}
	return bits
}
