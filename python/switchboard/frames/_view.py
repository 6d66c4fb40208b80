# SPDX-License-Identifier: Apache-2.0
"""A pool as a reader sees it: taking frames and giving them back (docs/frames.md, section 4)."""

import ctypes
import gc

from .. import _memory
from .._memory import WEAK, fence
from .._socket import close_all
from . import _layout as at
from ._errors import TooManyHeld
from ._format import Colour
from ._frame import Frame, Hold


class View:
    """One pool as a reader sees it, with the reader's own words for it. What take() looks up is here from the start."""

    __slots__ = ("mapping", "own", "shape", "bytes", "words32", "words64", "mine32", "mine64", "holds", "bell_address", "bell", "_unused",
                 "_table", "_log", "_mask", "_slots", "_at", "_slot_size", "_address", "_memory", "_fields", "_format", "_channel", "_colour",
                 "_usual", "_ranges")

    def __init__(self, fds, holds):
        pool, own = fds
        try:
            size = _memory.checked_size(pool, _memory.SEAL_SHRINK | _memory.SEAL_GROW)
            if not at.HEADER <= size <= at.MAX_POOL or size % 8:
                raise ValueError("a pool of %d bytes" % size)
            if _memory.checked_size(own, _memory.SEAL_SHRINK | _memory.SEAL_GROW) != at.WORDS:
                raise ValueError("the words are not a page")
            self.mapping = _memory.Mapping(pool, size, False)
            self.own = _memory.Mapping(own, at.WORDS, True)
        finally:
            close_all(fds)
        self.shape = at.Shape.parse(bytes(self.mapping.view(0, at.HEADER)), size)
        self.bytes = self.mapping.view(0, size)
        self.words32, self.words64 = self.bytes.cast("I"), self.bytes.cast("Q")
        self.mine32, self.mine64 = self.own.view(0, at.WORDS).cast("I"), self.own.view(0, at.WORDS).cast("Q")
        self.holds = holds
        self._unused = list(range(holds))  # holds. No lock: a finalizer releases frames in the middle of anything
        self.bell_address = self.mapping.address + at.BELL
        self.bell = self.words32[at.BELL // 4:at.BELL // 4 + 1]  # to spin on: a short name
        s = self.shape
        self._table, self._log, self._mask, self._slots = s.table_at // 8, s.log_at // 8, s.entries - 1, s.slots
        self._at, self._slot_size, self._address, self._memory = s.slots_at, s.slot_size, self.mapping.address, ctypes.c_char * s.slot_size
        self._format, self._channel, self._colour = s.format, int.from_bytes(s.channel[:8], "little"), s.format.colour
        self._fields = at.frame_fields(s.format)
        self._usual = at.plane_fields(s.format)
        self._ranges = [(p.offset, p.offset + p.size) for p in s.format.planes]

    def take(self, q, reader):
        """Holds the frame with a sequence for a reader. None: it is gone.

        Hold, fence, look: a writer that retires, fence, looks at the holds finds out, or is found.
        """
        words, fault = self.words64, reader._fault
        entry = words[self._log + (q & self._mask)]
        slot, generation = entry & 0xFFFFFFFF, entry >> 32
        if slot >= self._slots:
            raise OSError("the writer broke the rules: frame %d is in slot %d of %d" % (q, slot, self._slots))
        if not self._unused:
            gc.collect()  # those that were dropped with something that refers to itself
        try:
            index = self._unused.pop()
        except IndexError:
            raise TooManyHeld("too many frames are held (%d): release one, or open the channel with more holds" % self.holds) from None
        hold = Hold(self, index, reader)
        self.mine32[at.HOLD // 4 + index] = slot + 1
        fence()
        if fault:
            fault("take.held")
        word = words[self._table + slot * (at.ENTRY // 8)]
        if WEAK:
            fence()
        if word != generation << 32 | at.READY:
            return None  # the Hold releases itself
        start = self._at + slot * self._slot_size
        fields = self._fields.unpack_from(self.bytes, start)  # each is loaded once
        if fields[2] != q:
            return None
        if fault:
            fault("take.checked")
        frame = Frame()
        frame._hold = hold
        (magic, header, frame.sequence, frame.epoch, frame.slot, frame.generation, frame.flags, frame.timestamp, frame.published,
         frame.duration, x, y, w, h, frame.transform, length, a0, a1, a2, a3, c0, c1, c2, c3, planes) = fields[:25]
        ranges = self._ranges
        if magic != b"FRM1" or header != at.FRAME or length > at.MAX_METADATA or planes != len(ranges):
            raise ValueError("a published frame has a malformed header")
        layout = fields[25:]
        if layout != self._usual:
            ranges = at.checked_ranges(layout, self._format)
        frame.crop = (x, y, w, h) if w or h or x or y else None
        frame.answers = (a0, a1, a2, a3) if a1 else None
        frame.colour = Colour(c0, c1, c2, c3) if c0 or c1 or c2 or c3 else self._colour
        frame.format, frame.channel = self._format, self._channel
        frame.metadata = bytes(self.bytes[start + at.FRAME:start + at.FRAME + length]) if length else b""
        memory = self._memory.from_address(self._address + start)
        memory.hold = hold  # so the planes, which keep the memory, keep the hold
        slot_bytes = memoryview(memory).cast("B").toreadonly()
        frame.planes = tuple([slot_bytes[begin:end] for begin, end in ranges])
        return frame

    def give_back(self, index, reader):
        """Ends a hold."""
        fault = reader._fault
        if fault:
            fault("release.start")
        if WEAK:
            fence()
        self.mine32[at.HOLD // 4 + index] = 0
        if fault:
            fault("release.cleared")
        self._unused.append(index)
        if reader._lossless:
            reader._tell(self)
