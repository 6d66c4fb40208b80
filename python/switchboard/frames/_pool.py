# SPDX-License-Identifier: Apache-2.0
"""What a writer has: pools, and the readers that are attached to them (docs/frames.md, sections 2 to 4)."""

import os
import socket
import struct
from collections import deque

from .. import _memory
from .._memory import WEAK, fence
from . import _layout as at

_SEALS = _memory.SEAL_SHRINK | _memory.SEAL_GROW | _memory.SEAL_SEAL


class Pool:
    """One epoch: its memory, and what the writer knows about the slots. It never reads back what it wrote there."""

    def __init__(self, shape):
        self.shape = shape
        self.fd = _memory.memory_file("frames", shape.size)
        try:
            self.mapping = _memory.Mapping(self.fd, shape.size, True)
            _memory.seal(self.fd, _SEALS | _memory.SEAL_FUTURE_WRITE)
        except BaseException:
            os.close(self.fd)
            raise
        everything = self.mapping.view(0, shape.size)
        everything[:at.HEADER] = shape.pack()
        self.bytes, self.words32, self.words64 = everything, everything.cast("I"), everything.cast("Q")
        self.words64[at.HEAD // 8] = shape.first - 1
        self.format, self.slots_at, self.slot_size = shape.format, shape.slots_at, shape.slot_size
        self.log, self.mask, self.table = shape.log_at // 8, shape.entries - 1, shape.table_at // 8
        self.ranges = [(p.offset, p.offset + p.size) for p in shape.format.planes]
        self.sizes = [p.size for p in shape.format.planes]
        self.fields, self.usual = at.frame_fields(shape.format), at.plane_fields(shape.format)
        self.generations = [0] * shape.slots
        self.sequences = [0] * shape.slots
        self.ready, self.retired = deque(), []  # slots with a published frame, oldest first; and those with one that cannot be had any more
        self.used = self.loans = 0

    def set(self, slot, state):
        if WEAK:
            fence()
        self.words64[self.table + slot * (at.ENTRY // 8)] = self.generations[slot] << 32 | state

    def choose(self, held, needed):
        """Returns (slot, 0), or (None, the frame that a lossless reader still needs), or (None, 0): all are on loan."""
        ready = self.ready
        for slot in self.retired:
            if slot not in held:
                return slot, 0
        unheld = sum([slot not in held for slot in ready]) if held else len(ready)
        if unheld + self.loans < self.shape.base and self.used < self.shape.slots:
            return self.used, 0
        oldest = ready[0] if ready else None
        if oldest in held:
            oldest = next((slot for slot in ready if slot not in held), None)
        if oldest is None or oldest == ready[-1]:  # never the newest
            return None, 0
        if self.sequences[oldest] >= needed:
            return None, self.sequences[oldest]
        return oldest, 0


class Words:
    """The memory that a reader writes. Each word is loaded once, and believed as far as it can hurt that reader only."""

    __slots__ = ("fd", "words32", "words64", "holds", "none")

    def __init__(self, holds):
        self.fd = _memory.memory_file("frames-reader", at.WORDS)
        try:
            _memory.seal(self.fd, _SEALS)
            page = _memory.Mapping(self.fd, at.WORDS, False).view(0, at.WORDS)
        except BaseException:
            os.close(self.fd)
            raise
        self.words32, self.words64 = page.cast("I"), page.cast("Q")
        self.holds, self.none = self.words32[at.HOLD // 4:at.HOLD // 4 + holds], [0] * holds


class Attached:
    """A reader as its writer sees it."""

    __slots__ = ("line", "mode", "holds", "deadline", "living", "start", "evicted", "pid", "words", "event", "dead")

    def __init__(self, line, mode, holds, deadline, living):
        self.line, self.mode, self.holds, self.deadline = line, mode, holds, deadline
        self.living = living  # its pidfd, or -1
        self.start, self.evicted, self.pid = 0, False, 0
        self.dead = False  # its words do not count any more
        self.words = Words(holds)
        self.event = -1
        try:
            self.pid = struct.unpack("iii", line.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        except OSError:
            pass
        self.event = _eventfd()

    def needs(self):
        """The first frame that the reader has not taken. It only goes up: one whose cursor goes up and down makes no progress."""
        self.start = max(self.words.words64[at.CURSOR // 8], self.start)
        return self.start

    def held(self):
        """The slots that it says it holds, granted or not there as they may be."""
        words = self.words.holds.tolist()
        return [h - 1 for h in words if h] if words != self.words.none else ()

    def close(self):
        for fd in (self.event, self.words.fd, self.living):
            if fd >= 0:
                os.close(fd)


def _eventfd():
    if hasattr(os, "eventfd"):  # Python 3.10
        return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    fd = _memory._libc.eventfd(0, 0o2000000 | 0o4000)
    if fd < 0:
        raise OSError("eventfd")
    return fd


def ages(words):
    counts = words.words32[at.AGES // 4:at.AGES // 4 + at.AGE_BUCKETS].tolist()
    result, total = {}, sum(counts)
    for name, p in (("age_p50_ns", 50), ("age_p99_ns", 99)):
        seen, result[name] = 0, 0
        for i, n in enumerate(counts):
            seen += n
            if n and seen * 100 >= total * p:
                result[name] = 1 << i
                break
    return result
