# SPDX-License-Identifier: Apache-2.0
"""Formats of frames: pictures by DRM's codes, tensors by type and shape."""

import re
from collections import namedtuple

Plane = namedtuple("Plane", "offset size stride rows")
Rate = namedtuple("Rate", "num den")
Colour = namedtuple("Colour", "primaries transfer matrix range")
Plane.__doc__ = "Where a plane lies in its slot, in bytes: offset, size, stride (from row to row), and the number of rows; 0 rows: it has none."
Rate.__doc__ = "Frames a second, as a fraction num/den; 0/0: not said."
Colour.__doc__ = "Colour by the codes of ITU-T H.273: primaries, transfer, matrix; range is 0 (limited) or 1 (full). 2 is unspecified; all 0: not said."

# Name: DRM's code, and for each plane: bytes for a group of pixels, how many pixels across and down make a group, and for numpy
# the type and how many of it a pixel has.
_FORMATS = {
    "BGRA": ("AR24", [(4, 1, 1, "u1", 4)]), "BGRX": ("XR24", [(4, 1, 1, "u1", 4)]),
    "RGBA": ("AB24", [(4, 1, 1, "u1", 4)]), "RGBX": ("XB24", [(4, 1, 1, "u1", 4)]),
    "ARGB": ("BA24", [(4, 1, 1, "u1", 4)]), "RGB": ("BG24", [(3, 1, 1, "u1", 3)]), "BGR": ("RG24", [(3, 1, 1, "u1", 3)]),
    "RGB565": ("RG16", [(2, 1, 1, "<u2", 1)]), "BGR10A2": ("AR30", [(4, 1, 1, "<u4", 1)]), "RGB10A2": ("AB30", [(4, 1, 1, "<u4", 1)]),
    "RGBA16F": ("AB4H", [(8, 1, 1, "<f2", 4)]), "RGBA16": ("AB48", [(8, 1, 1, "<u2", 4)]),
    "GRAY8": ("R8  ", [(1, 1, 1, "u1", 1)]), "GRAY16": ("R16 ", [(2, 1, 1, "<u2", 1)]),
    "YUYV": ("YUYV", [(4, 2, 1, "u1", 2)]), "UYVY": ("UYVY", [(4, 2, 1, "u1", 2)]),
    "NV12": ("NV12", [(1, 1, 1, "u1", 1), (2, 2, 2, "u1", 2)]), "NV21": ("NV21", [(1, 1, 1, "u1", 1), (2, 2, 2, "u1", 2)]),
    "NV16": ("NV16", [(1, 1, 1, "u1", 1), (2, 2, 1, "u1", 2)]), "P010": ("P010", [(2, 1, 1, "<u2", 1), (4, 2, 2, "<u2", 2)]),
    "I420": ("YU12", [(1, 1, 1, "u1", 1), (1, 2, 2, "u1", 1), (1, 2, 2, "u1", 1)]),
    "YV12": ("YV12", [(1, 1, 1, "u1", 1), (1, 2, 2, "u1", 1), (1, 2, 2, "u1", 1)]),
    "I422": ("YU16", [(1, 1, 1, "u1", 1), (1, 2, 1, "u1", 1), (1, 2, 1, "u1", 1)]),
    "I444": ("YU24", [(1, 1, 1, "u1", 1), (1, 1, 1, "u1", 1), (1, 1, 1, "u1", 1)]),
}

_KINDS = {"int": 0, "uint": 1, "float": 2, "bfloat": 4, "complex": 5, "bool": 6}
_LETTERS = {0: "i", 1: "u", 2: "f", 5: "c", 6: "b"}
_SHORT = re.compile("[<=|]?([iufcb])([0-9]{1,2})")
_BUILTIN = {"float": "float64", "int": "int64", "complex": "complex128", "bool": "bool8", "bool_": "bool8"}
_TEXT = re.compile(r"(\d{1,5})x(\d{1,5})(?:@(\d{1,6})(?:/(\d{1,6}))?)?(?::(.{1,8}))?")


def _code(text):
    if not (1 <= len(text) <= 4 and text.isascii() and text.isprintable()):
        raise ValueError("format %r is unknown: write a DRM code such as AR24, or BGRA, RGBA, NV12, I420, GRAY8" % text)
    return int.from_bytes(text.ljust(4).encode("ascii"), "little")


def _type_name(dtype):
    """Returns a name such as float32 for what programs call types: that, f4, numpy.float32, numpy.dtype("f4"), torch.float32, float."""
    name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype)
    if getattr(dtype, "byteorder", "=") == ">" or name.startswith(">"):
        raise ValueError("type %r is big-endian, and memory is little-endian" % (dtype,))
    short = _SHORT.fullmatch(name)
    if short:
        return "%s%d" % ({letter: kind for kind, n in _KINDS.items() for letter in _LETTERS.get(n, "")}[short[1]], 8 * int(short[2]))
    name = name.rpartition(".")[2]
    return _BUILTIN.get(name, name)


_NAMES = {_code(code): name for name, (code, _) in _FORMATS.items()}
_LAYOUTS = {_code(code): layout for code, layout in _FORMATS.values()}
BGRA, RGBA, NV12, I420, GRAY8 = (_code(_FORMATS[name][0]) for name in ("BGRA", "RGBA", "NV12", "I420", "GRAY8"))


def _up(n, to):
    return (n + to - 1) // to * to


class Format:
    """What every frame of a channel looks like: a picture, or a tensor. Formats are compared by what they say, and do not change.

    Format("BGRA", 1920, 1080): a picture. The name is BGRA, RGBA, NV12, I420, GRAY8 and so on, or a code of DRM, as a text or a number.
    Format.parse("1920x1080@60:NV12"): one, too, and so is that text wherever a Format is wanted.
    Format(dtype="float32", shape=(3, 224, 224)): a tensor. dtype may be a type of numpy or torch, and shape a number.
    Format.bytes(n): up to n bytes of any kind.

    rate: frames a second: a whole number, a Fraction, or (30000, 1001). colour: a Colour, or four numbers like it. modifier: of DRM.
    planes: (stride in bytes, rows) of each, where they are not the usual: rows of pixels, padded to 64 bytes.
    size: of a coded stream such as MJPG: the bytes of its largest frame. strides: of a tensor, in bytes; without them, in order of C.
    ValueError: it cannot be.
    """

    __slots__ = {
        "fourcc": "The code of DRM, as a number; 0: a tensor.", "modifier": "Of DRM; 0 is linear.", "width": "In pixels; 0: a tensor.",
        "height": "In pixels; 0: a tensor.", "rate": "A Rate: frames a second, as a fraction.", "colour": "A Colour.",
        "planes": "A tuple of Plane: where each lies in its slot.", "type": "Of a tensor: (code, bits, lanes) as in DLPack; None: a picture.",
        "shape": "Of a tensor.", "strides": "Of a tensor, in bytes."}

    def __init__(self, fourcc=None, width=0, height=0, *, rate=(0, 0), colour=(0, 0, 0, 0), modifier=0, planes=None, size=None,
                 dtype=None, shape=None, strides=None):
        rate = rate if isinstance(rate, tuple) else (rate.numerator, rate.denominator)
        self.modifier, self.rate, self.colour = modifier, Rate(*rate), Colour(*colour)
        self.fourcc, self.width, self.height, self.type, self.shape, self.strides = 0, width, height, None, (), ()
        if (fourcc is None) == (dtype is None):
            raise ValueError("a format is a picture (fourcc) or a tensor (dtype, shape)")
        if dtype is not None:
            sizes = self._tensor(_type_name(dtype), shape, strides)
        else:
            sizes = self._picture(fourcc, planes, size)
        at, laid = 4096, []
        for plane, stride, rows in sizes:
            laid.append(Plane(at, plane, stride, rows))
            at = _up(at + plane, 4096)
        self.planes = tuple(laid)

    @classmethod
    def parse(cls, text):
        """Reads a picture's format as the command line writes it: WIDTHxHEIGHT@FPS:FOURCC, without pixels BGRA."""
        m = _TEXT.fullmatch(text)
        if m is None:
            raise ValueError("format %r is malformed: write WIDTHxHEIGHT@FPS:FOURCC, such as 1920x1080@60:NV12" % text)
        width, height, num, den = (int(n or 0) for n in m.groups()[:4])
        return cls(m[5] or "BGRA", width, height, rate=(num, den or 1) if num else (0, 0))

    @classmethod
    def bytes(cls, n):
        """Up to n bytes of any kind. How many of a frame are used: Loan.used, and the length of its plane."""
        return cls(dtype="uint8", shape=(n,))

    def _picture(self, fourcc, planes, size):
        if isinstance(fourcc, str):
            fourcc = _code(_FORMATS.get(fourcc.upper(), (fourcc,))[0])
        self.fourcc = fourcc
        if not (0 < self.width <= 65536 and 0 < self.height <= 65536):
            raise ValueError("a picture of %d by %d: both must be 1 to 65536" % (self.width, self.height))
        if size is not None:  # a coded stream
            return [(size, 0, 0)]
        if planes is not None:  # (stride, rows) each
            if not 1 <= len(planes) <= 4 or any(stride < 1 or rows < 1 for stride, rows in planes):
                raise ValueError("planes %r: there must be 1 to 4, each with (stride, rows)" % (planes,))
            return [(stride * rows, stride, rows) for stride, rows in planes]
        if fourcc not in _LAYOUTS:
            raise ValueError("how pixels of %s lie in memory is not known here: say it in planes" % self.name)
        result = []
        for unit, across, down, _, _ in _LAYOUTS[fourcc]:
            stride, rows = _up(-(-self.width // across) * unit, 64), -(-self.height // down)
            result.append((stride * rows, stride, rows))
        return result

    def _tensor(self, dtype, shape, strides):
        kind = dtype.rstrip("0123456789")
        bits = int(dtype[len(kind):] or 0)
        if kind not in _KINDS or bits % 8 or not bits or bits > 248:
            raise ValueError("type %r is unknown: write one such as float32, uint8, bfloat16" % dtype)
        if hasattr(shape, "__index__"):
            shape = (shape,)
        self.type, self.shape = (_KINDS[kind], bits, 1), tuple(int(n) for n in shape or ())
        if strides is None:
            strides, n = [], bits // 8
            for length in reversed(self.shape):
                strides.insert(0, n)
                n *= length
        self.strides = tuple(strides)
        if len(self.shape) > 8 or len(self.strides) != len(self.shape) or min(self.shape, default=1) < 1 or min(self.strides, default=0) < 0:
            raise ValueError("a tensor of shape %r with strides %r cannot be" % (self.shape, self.strides))
        return [(sum((n - 1) * s for n, s in zip(self.shape, self.strides)) + bits // 8, 0, 0)]

    @property
    def name(self):
        """BGRA and so on, a code of DRM, or the type of a tensor."""
        if self.fourcc:
            return _NAMES.get(self.fourcc) or self.fourcc.to_bytes(4, "little").decode("latin-1")
        kinds = {v: k for k, v in _KINDS.items()}
        return "%s%d" % (kinds.get(self.type[0], "type"), self.type[1])

    @property
    def size(self):
        """Bytes of all planes of a frame."""
        return sum(p.size for p in self.planes)

    def row_bytes(self, i):
        """Bytes of each row of a plane that are picture; the rest, up to its stride, is padding. 0: it has no rows."""
        if self.fourcc not in _LAYOUTS:
            return 0
        unit, across = _LAYOUTS[self.fourcc][i][:2]
        return -(-self.width // across) * unit

    def strided(self, i):
        """Returns (type as numpy writes it, shape, strides) of a plane."""
        if not self.fourcc:
            letter = _LETTERS.get(self.type[0])
            if letter is None:
                raise ValueError("numpy has no %s" % self.name)
            return "<%s%d" % (letter, self.type[1] // 8 * self.type[2]), self.shape, self.strides
        p = self.planes[i]
        if self.fourcc not in _LAYOUTS:
            return "u1", (p.size,), (1,)
        unit, across, _, kind, many = _LAYOUTS[self.fourcc][i]
        item = int(kind[-1])
        wide = -(-self.width // across) * (unit // (item * many))
        if many == 1:
            return kind, (p.rows, wide), (p.stride, item)
        return kind, (p.rows, wide, many), (p.stride, item * many, item)

    def __eq__(self, other):
        return isinstance(other, Format) and all(getattr(self, a) == getattr(other, a) for a in Format.__slots__)

    def __hash__(self):
        return hash((self.fourcc, self.width, self.height, self.type, self.shape, self.planes))

    def __repr__(self):
        if self.fourcc:
            return "%dx%d %s" % (self.width, self.height, self.name)
        return "%s%s" % (self.name, list(self.shape))
