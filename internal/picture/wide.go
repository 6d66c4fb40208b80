// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"encoding/binary"
	"image/color"
	"math"

	"github.com/switchboard-ipc/switchboard/frames"
)

var order = binary.LittleEndian

// wide is a packed format whose samples have other than eight bits.
type wide struct {
	size  int
	alpha bool // that of two bits counts as none: many leave them 0
	get   func(px []byte) color.NRGBA
	put   func(px []byte, c color.RGBA)
}

// wideOf returns how pixels of a format lie in memory. false: its samples have eight bits, or it is not packed.
func wideOf(c frames.FourCC) (wide, bool) {
	switch c {
	case frames.RGB565:
		return wide{2, false, get565, put565}, true
	case frames.BGR10A2:
		return tens(20, 10, 0), true
	case frames.RGB10A2:
		return tens(0, 10, 20), true
	case frames.RGBA16:
		return words(func(w uint16) byte { return byte(w >> 8) }, func(b byte) uint16 { return uint16(b) * 257 }), true
	case frames.RGBA16F:
		return words(fromHalf, toHalf), true
	case frames.GRAY16:
		return wide{2, false, func(px []byte) color.NRGBA { return color.NRGBA{px[1], px[1], px[1], 255} },
			func(px []byte, c color.RGBA) { px[0], px[1] = grey(c), grey(c) }}, true
	}
	return wide{}, false
}

func get565(px []byte) color.NRGBA {
	w := order.Uint16(px)
	r, g, b := byte(w>>11), byte(w>>5&63), byte(w&31)
	return color.NRGBA{r<<3 | r>>2, g<<2 | g>>4, b<<3 | b>>2, 255}
}

func put565(px []byte, c color.RGBA) {
	order.PutUint16(px, uint16(c.R)>>3<<11|uint16(c.G)>>2<<5|uint16(c.B)>>3)
}

// tens is two bits of alpha above three samples of ten bits, which begin at these.
func tens(r, g, b int) wide {
	get := func(px []byte) color.NRGBA {
		w := order.Uint32(px)
		return color.NRGBA{byte(w >> r >> 2), byte(w >> g >> 2), byte(w >> b >> 2), 255}
	}
	put := func(px []byte, c color.RGBA) {
		ten := func(n byte, at int) uint32 { return (uint32(n)<<2 | uint32(n)>>6) << at }
		order.PutUint32(px, 3<<30|ten(c.R, r)|ten(c.G, g)|ten(c.B, b))
	}
	return wide{4, false, get, put}
}

// words is R, G, B, A of 16 bits each.
func words(narrow func(uint16) byte, widen func(byte) uint16) wide {
	get := func(px []byte) color.NRGBA {
		at := func(i int) byte { return narrow(order.Uint16(px[2*i:])) }
		return color.NRGBA{at(0), at(1), at(2), at(3)}
	}
	put := func(px []byte, c color.RGBA) {
		for i, n := range []byte{c.R, c.G, c.B, 255} {
			order.PutUint16(px[2*i:], widen(n))
		}
	}
	return wide{8, true, get, put}
}

// fromHalf is a number of half precision as a part of 255: 0 of what is less than 0 or none, 255 of what is more than 1.
func fromHalf(h uint16) byte {
	exponent, fraction := int(h>>10&31), float64(h&1023)/1024
	switch {
	case h>>15 == 1, exponent == 31 && fraction != 0:
		return 0
	case exponent >= 15:
		return 255
	case exponent == 0:
		return byte(math.Ldexp(fraction, -14)*255 + 0.5)
	}
	return byte(math.Ldexp(1+fraction, exponent-15)*255 + 0.5)
}

func toHalf(n byte) uint16 {
	if n == 0 {
		return 0
	}
	fraction, exponent := math.Frexp(float64(n) / 255)
	mantissa := uint16(math.Round((2*fraction - 1) * 1024))
	return uint16(exponent+14)<<10 + mantissa
}
