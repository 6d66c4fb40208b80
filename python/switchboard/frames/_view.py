# SPDX-License-Identifier: Apache-2.0
"""A pool as a reader sees it: taking frames and giving them back (docs/frames.md, section 4)."""

import gc

from .. import _memory
from .._memory import fence, order
from .._socket import close_all
from . import _layout as at
from ._errors import TooManyHeld
from ._frame import Frame, Hold


class View:
    """One pool as a reader sees it, with the reader's own words for it."""

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
        everything = self.mapping.view(0, size)
        self.words32, self.words64 = everything.cast("I"), everything.cast("Q")
        self.mine32, self.mine64 = self.own.view(0, at.WORDS).cast("I"), self.own.view(0, at.WORDS).cast("Q")
        self.holds = holds
        self._unused = list(range(holds))  # holds. No lock: a finalizer releases frames in the middle of anything
        self.bell_address = self.mapping.address + at.BELL

    def take(self, q, at_point, tell):
        """Holds the frame with a sequence. None: it is gone.

        Hold, fence, look: a writer that retires, fence, looks at the holds finds out, or is found. tell is called when something was
        released.
        """
        s = self.shape
        entry = self.words64[s.log_at // 8 + (q & (s.entries - 1))]
        slot, generation = entry & 0xFFFFFFFF, entry >> 32
        if slot >= s.slots:
            raise OSError("the writer broke the rules: frame %d is in slot %d of %d" % (q, slot, s.slots))
        if not self._unused:
            gc.collect()  # those that were dropped with something that refers to itself
        try:
            index = self._unused.pop()
        except IndexError:
            raise TooManyHeld("too many frames are held (%d): release one, or open the channel with more holds" % self.holds) from None
        self.mine32[at.HOLD // 4 + index] = slot + 1
        fence()
        at_point("take.held")
        word = self.words64[(s.table_at + slot * at.ENTRY) // 8]
        order()
        start = s.slots_at + slot * s.slot_size
        hold = Hold(index, lambda i: self._release(i, at_point, tell))
        if word != generation << 32 | at.READY or self.words64[start // 8 + 1] != q:
            return None  # the Hold releases itself
        at_point("take.checked")
        frame = Frame()
        frame._hold = hold
        header = bytes(self.mapping.view(start, at.FRAME))
        used, length = at.parse_frame(header, frame, s.format)
        frame.format, frame.channel = s.format, int.from_bytes(s.channel[:8], "little")
        frame.metadata = bytes(self.mapping.view(start + at.FRAME, length)) if length else b""
        frame.planes = tuple(self.mapping.view(start + p.offset, n, hold) for p, n in zip(s.format.planes, used))
        return frame

    def _release(self, index, at_point, tell):
        at_point("release.start")
        order()
        self.mine32[at.HOLD // 4 + index] = 0
        at_point("release.cleared")
        self._unused.append(index)
        tell(self)
