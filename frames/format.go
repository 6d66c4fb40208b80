// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Format is what every frame of a channel looks like: a picture (FourCC), or a tensor (Type and Shape).
type Format struct {
	FourCC        FourCC
	Modifier      uint64 // of DRM; 0 is linear
	Width, Height int
	Rate          Rate
	Colour        Colour

	Type    Type  // of a tensor's elements; then FourCC is 0
	Shape   []int // of a tensor
	Strides []int // of a tensor, in bytes; nil: the last index runs fastest, without gaps

	// Planes is where rows are. nil: as FourCC has it, rows rounded up to 64 bytes. A coded stream, whose frames have no
	// rows, has one plane with just the Size of the longest.
	Planes []Plane
}

// Plane is one plane of a frame.
type Plane struct {
	Offset int // in the slot; set by this package
	Size   int // bytes; 0: Stride × Rows
	Stride int // bytes from one row to the next
	Rows   int
}

// Rate is how many frames there are in a second, such as 30000/1001. The zero value says nothing.
type Rate struct{ Num, Den int }

// Colour says what the numbers of a picture mean, in the codes of ITU-T H.273. Range: 0 limited, 1 full. The zero value says nothing.
type Colour struct{ Primaries, Transfer, Matrix, Range uint8 }

// Type is the type of a tensor's elements, as DLPack has it.
type Type struct {
	Code  uint8 // 0 int, 1 uint, 2 float, 4 bfloat, 5 complex, 6 bool
	Bits  uint8
	Lanes uint16
}

// Types of elements.
var (
	Int8     = Type{0, 8, 1}
	Int16    = Type{0, 16, 1}
	Int32    = Type{0, 32, 1}
	Int64    = Type{0, 64, 1}
	Uint8    = Type{1, 8, 1}
	Uint16   = Type{1, 16, 1}
	Uint32   = Type{1, 32, 1}
	Uint64   = Type{1, 64, 1}
	Float16  = Type{2, 16, 1}
	Float32  = Type{2, 32, 1}
	Float64  = Type{2, 64, 1}
	BFloat16 = Type{4, 16, 1}
)

// Bytes is the format of a channel whose frames are up to n bytes of any kind.
func Bytes(n int) Format { return Format{Type: Uint8, Shape: []int{n}} }

// Equal reports whether two formats, both complete, are the same.
func (f Format) Equal(g Format) bool {
	return f.FourCC == g.FourCC && f.Modifier == g.Modifier && f.Width == g.Width && f.Height == g.Height && f.Rate == g.Rate && f.Colour == g.Colour &&
		f.Type == g.Type && slices.Equal(f.Shape, g.Shape) && slices.Equal(f.Strides, g.Strides) && slices.Equal(f.Planes, g.Planes)
}

// String returns for example "1920x1080 BGRA", or "float32[1 3 224 224]".
func (f Format) String() string {
	if f.FourCC == 0 {
		kinds := map[uint8]string{0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex", 6: "bool"}
		return fmt.Sprintf("%s%d%v", kinds[f.Type.Code], f.Type.Bits, f.Shape)
	}
	return fmt.Sprintf("%dx%d %v", f.Width, f.Height, f.FourCC)
}

// Size returns how many bytes the planes of a frame have, all together.
func (f Format) Size() int {
	n := 0
	for _, p := range f.Planes {
		n += p.Size
	}
	return n
}

// RowBytes returns how many bytes of each row of a plane are picture; the rest up to Stride is padding. 0: it has no rows.
func (f Format) RowBytes(i int) int {
	if l := planesOf[f.FourCC]; i < len(l) {
		return groups(f.Width, l[i].across) * l[i].bytes
	}
	return 0
}

// Sampling returns how a plane samples the picture: so many bytes for each group of across pixels, and one row for each down rows. 0: it is
// not known, or there are no rows.
func (f Format) Sampling(i int) (bytes, across, down int) {
	if l := planesOf[f.FourCC]; i < len(l) {
		return l[i].bytes, l[i].across, l[i].down
	}
	return 0, 0, 0
}

// Complete checks a format and fills in what follows from the rest, as a channel with it has it: the planes and their places, strides.
func (f Format) Complete() (Format, error) { return f.complete() }

func groups(n, size int) int { return (n + size - 1) / size }

const (
	maxSide  = 1 << 16
	maxFrame = 1 << 36
)

// complete checks a format and fills in what follows from the rest: planes with their places in a slot, strides.
func (f Format) complete() (Format, error) {
	f.Planes, f.Shape, f.Strides = slices.Clone(f.Planes), slices.Clone(f.Shape), slices.Clone(f.Strides)
	var err error
	if f.FourCC == 0 {
		err = f.completeTensor()
	} else {
		err = f.completePicture()
	}
	if err != nil {
		return Format{}, err
	}
	if len(f.Planes) > maxPlanes {
		return Format{}, fmt.Errorf("%d planes are more than %d", len(f.Planes), maxPlanes)
	}
	at := slotPrefix
	for i := range f.Planes {
		p := &f.Planes[i]
		if p.Size == 0 {
			p.Size = p.Stride * p.Rows
		}
		if p.Size <= 0 || p.Size > maxFrame || p.Stride < 0 || p.Rows < 0 || p.Stride > math.MaxInt32 || p.Rows > math.MaxInt32 || p.Stride*p.Rows > p.Size {
			return Format{}, fmt.Errorf("plane %d has %d rows of %d bytes in %d", i, p.Rows, p.Stride, p.Size)
		}
		p.Offset = at
		at = roundUp(at+p.Size, 4096)
	}
	return f, nil
}

func (f *Format) completePicture() error {
	if f.Width <= 0 || f.Height <= 0 || f.Width > maxSide || f.Height > maxSide {
		return fmt.Errorf("a picture of %d by %d: both must be 1 to %d", f.Width, f.Height, maxSide)
	}
	if f.Type != (Type{}) || f.Shape != nil {
		return errors.New("a format is a picture (FourCC) or a tensor (Type, Shape), not both")
	}
	if f.Planes != nil {
		return nil
	}
	layout := planesOf[f.FourCC]
	if layout == nil {
		return fmt.Errorf("how pixels of %v lie in memory is not known here (in Go, Format.Planes can say it)", f.FourCC)
	}
	for i, l := range layout {
		f.Planes = append(f.Planes, Plane{Stride: roundUp(f.RowBytes(i), 64), Rows: groups(f.Height, l.down)})
	}
	return nil
}

func (f *Format) completeTensor() error {
	if f.Type.Bits == 0 || f.Type.Bits%8 != 0 {
		return errors.New("a format needs a FourCC, or a Type of whole bytes and a Shape")
	}
	if f.Type.Lanes == 0 {
		f.Type.Lanes = 1
	}
	if len(f.Shape) > maxDims {
		return fmt.Errorf("%d dimensions are more than %d", len(f.Shape), maxDims)
	}
	size := int(f.Type.Bits) / 8 * int(f.Type.Lanes)
	if f.Strides == nil {
		f.Strides = make([]int, len(f.Shape))
		n := size
		for i := len(f.Shape) - 1; i >= 0; i-- {
			if f.Strides[i] = n; f.Shape[i] <= 0 || f.Shape[i] > maxFrame/n {
				return fmt.Errorf("a tensor of shape %v is empty or too large", f.Shape)
			}
			n *= f.Shape[i]
		}
	}
	if len(f.Strides) != len(f.Shape) {
		return fmt.Errorf("%d strides for %d dimensions", len(f.Strides), len(f.Shape))
	}
	last := 0
	for i, n := range f.Shape {
		if n <= 0 || f.Strides[i] < 0 || f.Strides[i] > maxFrame || n > maxFrame/max(1, f.Strides[i]) {
			return fmt.Errorf("a tensor of shape %v with strides %v cannot be", f.Shape, f.Strides)
		}
		last += (n - 1) * f.Strides[i]
	}
	f.Planes = []Plane{{Size: last + size}}
	return nil
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }
