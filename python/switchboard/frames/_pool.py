# SPDX-License-Identifier: Apache-2.0
"""What a writer has: pools, and the readers that are attached to them (docs/frames.md, sections 2 to 4)."""

import os
import socket
import struct

from .. import _memory
from .._memory import order
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
        self.states = [at.FREE] * shape.slots
        self.generations = [0] * shape.slots
        self.sequences = [0] * shape.slots
        self.used = self.loans = 0
        self.newest = shape.first - 1

    def set(self, slot, state):
        self.states[slot] = state
        order()
        self.words64[(self.shape.table_at + slot * at.ENTRY) // 8] = self.generations[slot] << 32 | state

    def choose(self, held, needed):
        """Returns (slot, 0), or (None, the frame that a lossless reader still needs), or (None, 0): all are on loan."""
        oldest, unheld = None, 0
        for i in range(self.used):
            state = self.states[i]
            if state == at.WRITING or i in held:
                continue
            if state == at.RETIRED:
                return i, 0
            unheld += 1
            if self.sequences[i] != self.newest and (oldest is None or self.sequences[i] < self.sequences[oldest]):
                oldest = i
        if unheld + self.loans < self.shape.base and self.used < self.shape.slots:
            return self.used, 0
        if oldest is None:
            return None, 0
        if self.sequences[oldest] >= needed:
            return None, self.sequences[oldest]
        return oldest, 0


class Words:
    """The memory that a reader writes. Each word is loaded once, and believed as far as it can hurt that reader only."""

    def __init__(self):
        self.fd = _memory.memory_file("frames-reader", at.WORDS)
        try:
            _memory.seal(self.fd, _SEALS)
            page = _memory.Mapping(self.fd, at.WORDS, False).view(0, at.WORDS)
        except BaseException:
            os.close(self.fd)
            raise
        self.words32, self.words64 = page.cast("I"), page.cast("Q")


class Attached:
    """A reader as its writer sees it."""

    def __init__(self, line, mode, holds, deadline, living):
        self.line, self.mode, self.holds, self.deadline = line, mode, holds, deadline
        self.living = living  # its pidfd, or -1
        self.start, self.evicted, self.pid = 0, False, 0
        self.words = Words()
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
        words = self.words.words32
        return [h - 1 for h in words[at.HOLD // 4:at.HOLD // 4 + self.holds].tolist() if h]

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
