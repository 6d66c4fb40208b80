# SPDX-License-Identifier: Apache-2.0
"""Formats of frames: pictures by DRM's codes, tensors by type and shape."""

from collections import namedtuple

Plane = namedtuple("Plane", "offset size stride rows")
Rate = namedtuple("Rate", "num den")
Colour = namedtuple("Colour", "primaries transfer matrix range")

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


def _code(text):
    return int.from_bytes(text.ljust(4).encode("ascii"), "little")


_NAMES = {_code(code): name for name, (code, _) in _FORMATS.items()}
_LAYOUTS = {_code(code): layout for code, layout in _FORMATS.values()}


def _up(n, to):
    return (n + to - 1) // to * to


class Format:
    """What every frame of a channel looks like.

    Format("BGRA", 1920, 1080) is a picture; the name is one of those above, or a code of DRM. Format(dtype="float32",
    shape=(3, 224, 224)) is a tensor. Format.bytes(n) is up to n bytes of any kind.
    """

    __slots__ = ("fourcc", "modifier", "width", "height", "rate", "colour", "planes", "type", "shape", "strides")

    def __init__(self, fourcc=None, width=0, height=0, *, rate=(0, 0), colour=(0, 0, 0, 0), modifier=0, planes=None, size=None,
                 dtype=None, shape=None, strides=None):
        self.modifier, self.rate, self.colour = modifier, Rate(*rate), Colour(*colour)
        self.fourcc, self.width, self.height, self.type, self.shape, self.strides = 0, width, height, None, (), ()
        if (fourcc is None) == (dtype is None):
            raise ValueError("a format is a picture (fourcc) or a tensor (dtype, shape)")
        if dtype is not None:
            sizes = self._tensor(str(dtype), shape, strides)
        else:
            sizes = self._picture(fourcc, planes, size)
        at, laid = 4096, []
        for plane, stride, rows in sizes:
            laid.append(Plane(at, plane, stride, rows))
            at = _up(at + plane, 4096)
        self.planes = tuple(laid)

    @classmethod
    def bytes(cls, n):
        return cls(dtype="uint8", shape=(n,))

    def _picture(self, fourcc, planes, size):
        if isinstance(fourcc, str):
            fourcc = _code(_FORMATS[fourcc.upper()][0] if fourcc.upper() in _FORMATS else fourcc)
        self.fourcc = fourcc
        if not (0 < self.width <= 65536 and 0 < self.height <= 65536):
            raise ValueError("a picture of %d by %d: both must be 1 to 65536" % (self.width, self.height))
        if size is not None:  # a coded stream
            return [(size, 0, 0)]
        if planes is not None:  # (stride, rows) each
            return [(stride * rows, stride, rows) for stride, rows in planes]
        if fourcc not in _LAYOUTS:
            raise ValueError("the planes of %s are not known here: say them in planes" % self.name)
        result = []
        for unit, across, down, _, _ in _LAYOUTS[fourcc]:
            stride, rows = _up(-(-self.width // across) * unit, 64), -(-self.height // down)
            result.append((stride * rows, stride, rows))
        return result

    def _tensor(self, dtype, shape, strides):
        kind = dtype.rstrip("0123456789")
        bits = int(dtype[len(kind):] or 8)
        if kind not in _KINDS or bits % 8 or not bits or bits > 248:
            raise ValueError("type %r is unknown: write one such as float32, uint8, bfloat16" % dtype)
        self.type, self.shape = (_KINDS[kind], bits, 1), tuple(int(n) for n in shape)
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
        return isinstance(other, Format) and all(getattr(self, a) == getattr(other, a) for a in self.__slots__)

    def __hash__(self):
        return hash((self.fourcc, self.width, self.height, self.type, self.shape, self.planes))

    def __repr__(self):
        if self.fourcc:
            return "%dx%d %s" % (self.width, self.height, self.name)
        return "%s%s" % (self.name, list(self.shape))
