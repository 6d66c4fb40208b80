// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"fmt"
	"strings"
)

// FourCC names the pixels of a picture by DRM's code: four characters, the first in the lowest byte.
type FourCC uint32

// The formats whose planes this package can lay out by itself. DRM names a packed format by its bits from high to low in a
// little-endian word; these are named by their bytes in memory.
const (
	BGRA    FourCC = 'A' | 'R'<<8 | '2'<<16 | '4'<<24
	BGRX    FourCC = 'X' | 'R'<<8 | '2'<<16 | '4'<<24
	RGBA    FourCC = 'A' | 'B'<<8 | '2'<<16 | '4'<<24
	RGBX    FourCC = 'X' | 'B'<<8 | '2'<<16 | '4'<<24
	ARGB    FourCC = 'B' | 'A'<<8 | '2'<<16 | '4'<<24
	RGB     FourCC = 'B' | 'G'<<8 | '2'<<16 | '4'<<24
	BGR     FourCC = 'R' | 'G'<<8 | '2'<<16 | '4'<<24
	RGB565  FourCC = 'R' | 'G'<<8 | '1'<<16 | '6'<<24
	BGR10A2 FourCC = 'A' | 'R'<<8 | '3'<<16 | '0'<<24
	RGB10A2 FourCC = 'A' | 'B'<<8 | '3'<<16 | '0'<<24
	RGBA16F FourCC = 'A' | 'B'<<8 | '4'<<16 | 'H'<<24
	RGBA16  FourCC = 'A' | 'B'<<8 | '4'<<16 | '8'<<24
	GRAY8   FourCC = 'R' | '8'<<8 | ' '<<16 | ' '<<24
	GRAY16  FourCC = 'R' | '1'<<8 | '6'<<16 | ' '<<24
	YUYV    FourCC = 'Y' | 'U'<<8 | 'Y'<<16 | 'V'<<24
	UYVY    FourCC = 'U' | 'Y'<<8 | 'V'<<16 | 'Y'<<24
	NV12    FourCC = 'N' | 'V'<<8 | '1'<<16 | '2'<<24
	NV21    FourCC = 'N' | 'V'<<8 | '2'<<16 | '1'<<24
	NV16    FourCC = 'N' | 'V'<<8 | '1'<<16 | '6'<<24
	P010    FourCC = 'P' | '0'<<8 | '1'<<16 | '0'<<24
	I420    FourCC = 'Y' | 'U'<<8 | '1'<<16 | '2'<<24
	YV12    FourCC = 'Y' | 'V'<<8 | '1'<<16 | '2'<<24
	I422    FourCC = 'Y' | 'U'<<8 | '1'<<16 | '6'<<24
	I444    FourCC = 'Y' | 'U'<<8 | '2'<<16 | '4'<<24
)

// plane is how the rows of a plane follow from the picture: bytes for each group of across pixels, one row for each group of down rows.
type plane struct{ bytes, across, down int }

var packed = map[int][]plane{1: {{1, 1, 1}}, 2: {{2, 1, 1}}, 3: {{3, 1, 1}}, 4: {{4, 1, 1}}, 8: {{8, 1, 1}}}

var planesOf = map[FourCC][]plane{
	BGRA: packed[4], BGRX: packed[4], RGBA: packed[4], RGBX: packed[4], ARGB: packed[4], BGR10A2: packed[4], RGB10A2: packed[4],
	RGB: packed[3], BGR: packed[3], RGB565: packed[2], RGBA16F: packed[8], RGBA16: packed[8], GRAY8: packed[1], GRAY16: packed[2],
	YUYV: {{4, 2, 1}}, UYVY: {{4, 2, 1}},
	NV12: {{1, 1, 1}, {2, 2, 2}}, NV21: {{1, 1, 1}, {2, 2, 2}}, NV16: {{1, 1, 1}, {2, 2, 1}}, P010: {{2, 1, 1}, {4, 2, 2}},
	I420: {{1, 1, 1}, {1, 2, 2}, {1, 2, 2}}, YV12: {{1, 1, 1}, {1, 2, 2}, {1, 2, 2}},
	I422: {{1, 1, 1}, {1, 2, 1}, {1, 2, 1}}, I444: {{1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
}

// names are what people call formats, beside DRM's codes.
var names = map[string]FourCC{
	"BGRA": BGRA, "BGRX": BGRX, "RGBA": RGBA, "RGBX": RGBX, "ARGB": ARGB, "RGB": RGB, "BGR": BGR, "RGB565": RGB565,
	"GRAY8": GRAY8, "GRAY16": GRAY16, "YUYV": YUYV, "UYVY": UYVY, "NV12": NV12, "NV21": NV21, "NV16": NV16, "P010": P010,
	"I420": I420, "YV12": YV12, "I422": I422, "I444": I444, "RGBA16": RGBA16, "RGBA16F": RGBA16F, "BGR10A2": BGR10A2, "RGB10A2": RGB10A2,
}

// String returns the usual name, such as "BGRA", else the four characters of the code.
func (c FourCC) String() string {
	for name, code := range names {
		if code == c {
			return name
		}
	}
	return c.Code()
}

// Code returns the four characters, such as "AR24".
func (c FourCC) Code() string {
	return string([]byte{byte(c), byte(c >> 8), byte(c >> 16), byte(c >> 24)})
}

// ParseFourCC knows the names above, in capitals or not, and otherwise takes four characters for a code of DRM; one shorter is
// filled up with spaces.
func ParseFourCC(s string) (FourCC, error) {
	if c, ok := names[strings.ToUpper(s)]; ok {
		return c, nil
	}
	if len(s) == 0 || len(s) > 4 {
		return 0, fmt.Errorf("format %q is unknown: write a DRM code such as AR24, or BGRA, RGBA, NV12, I420, GRAY8", s)
	}
	b := [4]byte{' ', ' ', ' ', ' '}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return 0, fmt.Errorf("format %q is malformed: a DRM code has four printable characters", s)
		}
		b[i] = s[i]
	}
	return FourCC(b[0]) | FourCC(b[1])<<8 | FourCC(b[2])<<16 | FourCC(b[3])<<24, nil
}
