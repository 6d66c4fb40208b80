# SPDX-License-Identifier: Apache-2.0
"""The memory of docs/frames.md, to the byte. What is shared is copied once, and then checked."""

import struct

from ._format import Colour, Format, Plane, Rate

VERSION = 1
HEADER = 4096
ENTRY = 64
PREFIX = 4096
FRAME = 256
WORDS = 4096
MAX_METADATA = PREFIX - FRAME
MAX_SLOTS, MAX_READERS, MAX_HOLDS, MAX_POOL = 1024, 32, 16, 1 << 47

FORMAT = 128
HEAD, BELL, NEWEST, WANTED, CLOSED = 2048, 2056, 2064, 2112, 2176
ASLEEP, CURSOR, RECEIVED, MISSED, HOLD, AGES = 0, 64, 72, 80, 128, 512
AGE_BUCKETS = 40

FREE, WRITING, READY, RETIRED = range(4)
MOVED, ENDED = 1, 2
ON_FUTEX, WANTS_EVENT = 1, 2

_HEADER = struct.Struct("<8sIIQ16sIIIIQQQQIIQ")
_PICTURE = struct.Struct("<IIQIIII4BI")
_PLANE = struct.Struct("<QQII")
_NOTHING, _ZEROS = b"", (0, 0, 0, 0)
_FRAME = struct.Struct("<4sIQIIIIqqqIIIIIIQQII4BI")


class Shape:
    """The part of a pool's header that never changes."""

    __slots__ = ("channel", "epoch", "slots", "entries", "base", "table_at", "log_at", "slots_at", "slot_size", "size", "first",
                 "format")

    @classmethod
    def new(cls, format, base, spare, channel, epoch, first):
        s = cls()
        s.format, s.base, s.slots, s.channel, s.epoch, s.first = format, base, base + spare, channel, epoch, first
        if base < 2 or s.slots > MAX_SLOTS:
            raise ValueError("%d slots and %d to spare: there must be at least 2, and at most %d together" % (base, spare, MAX_SLOTS))
        s.entries = 1 << (s.slots - 1).bit_length()
        last = format.planes[-1]
        s.slot_size = _up(last.offset + last.size)
        s.table_at = HEADER
        s.log_at = _up(s.table_at + s.slots * ENTRY)
        s.slots_at = _up(s.log_at + s.entries * 8)
        s.size = s.slots_at + s.slots * s.slot_size
        if s.size > MAX_POOL:
            raise ValueError("%d slots of %d bytes are too many" % (s.slots, s.slot_size))
        return s

    def pack(self):
        b = bytearray(HEADER)
        _HEADER.pack_into(b, 0, b"SBFRAMES", VERSION, HEADER, self.size, self.channel, self.epoch, self.slots, self.entries, FRAME,
                          self.table_at, self.log_at, self.slots_at, self.slot_size, MAX_METADATA, self.base, self.first)
        f = self.format
        _PICTURE.pack_into(b, FORMAT, f.fourcc, 1 if f.fourcc else 2, f.modifier, f.width, f.height, f.rate[0], f.rate[1], *f.colour,
                           len(f.planes))
        for i, p in enumerate(f.planes):
            _PLANE.pack_into(b, FORMAT + 40 + 24 * i, p.offset, p.size, p.stride, p.rows)
        if not f.fourcc:
            struct.pack_into("<BBHI", b, FORMAT + 136, *f.type, len(f.shape))
            struct.pack_into("<%dQ" % len(f.shape), b, FORMAT + 144, *f.shape)
            struct.pack_into("<%dQ" % len(f.shape), b, FORMAT + 208, *f.strides)
        return bytes(b)

    @classmethod
    def parse(cls, b, size):
        """Reads a header of which b is a copy, of a pool of that size."""
        s = cls()
        (magic, version, header, s.size, s.channel, s.epoch, s.slots, s.entries, frame, s.table_at, s.log_at, s.slots_at, s.slot_size,
         metadata, s.base, s.first) = _HEADER.unpack_from(b)
        if magic != b"SBFRAMES":
            raise ValueError("it is no pool of frames")
        if version != VERSION:
            raise ValueError("it is a pool of version %d, and this program knows %d" % (version, VERSION))
        good = (s.size == size <= MAX_POOL and (header, frame, metadata) == (HEADER, FRAME, MAX_METADATA)
                and 1 <= s.slots <= MAX_SLOTS and s.slots <= s.entries <= 2 * MAX_SLOTS and s.entries & (s.entries - 1) == 0
                and s.table_at >= HEADER and s.table_at % 64 == 0 and s.table_at + s.slots * ENTRY <= size
                and s.log_at >= HEADER and s.log_at % 8 == 0 and s.log_at + s.entries * 8 <= size
                and s.slot_size >= PREFIX and s.slot_size % 4096 == 0
                and s.slots_at >= HEADER and s.slots_at % 4096 == 0 and s.slots_at + s.slots * s.slot_size <= size)
        if not good:
            raise ValueError("the header of the pool is malformed")
        s.format = _parse_format(b, s.slot_size)
        return s


def _parse_format(b, slot_size):
    (fourcc, kind, modifier, width, height, num, den, c0, c1, c2, c3, count) = _PICTURE.unpack_from(b, FORMAT)
    if not 1 <= count <= 4:
        raise ValueError("frames of %d planes" % count)
    planes = []
    for i in range(count):
        p = Plane(*_PLANE.unpack_from(b, FORMAT + 40 + 24 * i))
        if p.offset < PREFIX or p.offset + p.size > slot_size or p.stride * p.rows > p.size:
            raise ValueError("plane %d does not fit into a slot" % i)
        planes.append(p)
    f = Format.__new__(Format)
    f.fourcc, f.modifier, f.width, f.height = fourcc, modifier, width, height
    f.rate, f.colour, f.planes = Rate(num, den), Colour(c0, c1, c2, c3), tuple(planes)
    f.type, f.shape, f.strides = None, (), ()
    if kind == 2:
        code, bits, lanes, dims = struct.unpack_from("<BBHI", b, FORMAT + 136)
        if dims > 8 or bits // 8 * lanes == 0:
            raise ValueError("tensors of %d dimensions" % dims)
        f.type = (code, bits, lanes)
        f.shape = struct.unpack_from("<%dQ" % dims, b, FORMAT + 144)
        f.strides = struct.unpack_from("<%dQ" % dims, b, FORMAT + 208)
        if min(f.shape, default=1) < 1 or sum((n - 1) * s for n, s in zip(f.shape, f.strides)) + bits // 8 * lanes > planes[0].size:
            raise ValueError("tensors that are larger than their plane")
    return f


def pack_frame(info, sequence, pool, slot, generation, published):
    """Writes a frame header, and the metadata behind it, into a slot. ValueError, TypeError: something in it cannot be."""
    start, length = info._start, 0
    if info.metadata is not _NOTHING:
        metadata = bytes(memoryview(info.metadata))
        length = len(metadata)
        if length > MAX_METADATA:
            raise ValueError("%d bytes of metadata are more than %d" % (length, MAX_METADATA))
        pool.bytes[start + FRAME:start + FRAME + length] = metadata
    try:
        pool.fields.pack_into(
            pool.bytes, start, b"FRM1", FRAME, sequence, pool.shape.epoch, slot, generation, info.flags, info.timestamp or published,
            published, info.duration, *(info.crop or _ZEROS), info.transform, length, *(info.answers or _ZEROS), *(info.colour or _ZEROS),
            len(pool.ranges), *(pool.usual if info.used == pool.sizes else plane_fields(pool.format, info.used)))
    except struct.error as e:
        raise ValueError("a field of the frame cannot be: %s (times are whole nanoseconds)" % e) from None


def frame_fields(format):
    """How a frame header lies in memory, with the planes that the format has."""
    return struct.Struct(_FRAME.format + "QQII" * len(format.planes))


def plane_fields(format, used=None):
    """What a frame header says of the planes, of which so many bytes each are used: all, unless said. Four numbers for each."""
    result = []
    for p, n in zip(format.planes, used or [p.size for p in format.planes]):
        result += p.offset, min(n, p.size), p.stride, 0
    return tuple(result)


def checked_ranges(layout, format):
    """Returns where in its slot each plane begins and ends, from what a frame header says of the planes."""
    result = []
    for i, p in enumerate(format.planes):
        offset, size = layout[4 * i], layout[4 * i + 1]
        if offset != p.offset or size > p.size:
            raise ValueError("plane %d of a published frame is not in its place" % i)
        result.append((offset, offset + size))
    return result


def _up(n):
    return (n + 4095) // 4096 * 4096
