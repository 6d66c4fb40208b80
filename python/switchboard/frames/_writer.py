# SPDX-License-Identifier: Apache-2.0
"""The writer's side (docs/frames.md, sections 4 to 7)."""

import json
import os
import secrets
import struct
import threading
import time

from .. import _memory
from .._fork import parents_only
from .._loop import loop
from .._memory import fence, order
from .._socket import (BYE, EVICTED, HELLO, POOL, REFUSED, RELEASED, STATISTICS, WELCOME, Messages, OtherVersion,
                       close_all, living, own_pidfd)
from . import _layout as at
from ._errors import NoSlot, Reformatted
from ._format import Format
from ._frame import Loan
from ._pool import Attached, Pool, Words, ages

_HELLO_TIME = 10.0  # how long one who connects may take to say what it wants, before it may have to go
_STRANGERS = 64  # how many connections there may be beside those of readers
_MODES = {1: "latest", 2: "every", 3: "lossless"}


class Writer:
    """The side of a channel that has the memory. Its methods may be called from any thread."""

    def __init__(self, format, *, slots=4, readers=at.MAX_READERS, holds=4, patience=10.0, name="", _fault=None):
        if not (1 <= readers <= at.MAX_READERS and 1 <= holds <= at.MAX_HOLDS):
            raise ValueError("%d readers with %d holds: at least 1 of each, and at most %d and %d" % (readers, holds, at.MAX_READERS, at.MAX_HOLDS))
        self.name, self._slots, self._most, self._holds, self._patience, self._fault = name, slots, readers, holds, patience, _fault
        self._channel = secrets.token_bytes(16)
        self._changed = threading.Condition(threading.RLock())  # its lock guards everything, and every step of the protocol
        self._readers, self._lines, self._waiting = [], {}, 0  # lines: since when, and the reader that it became
        self._sequence = 0
        self._closed = False
        self._end = None  # ends what brings readers
        self._started = time.monotonic_ns()
        self._counts = {"published": 0, "dropped": 0, "evicted": 0}
        self._pool = self._new_pool(format, 1)
        self._own = own_pidfd()
        parents_only(self)

    def forked(self):
        self._closed = True
        self._changed = threading.Condition(threading.RLock())  # another thread may have held the one that there was

    def _new_pool(self, format, epoch):
        if isinstance(format, str):
            format = Format.parse(format)
        return Pool(at.Shape.new(format, self._slots, self._most * self._holds, self._channel, epoch, self._sequence + 1))

    @property
    def closed(self):
        return self._closed

    @property
    def format(self):
        return self._pool.shape.format

    def loan(self, timeout=None):
        """Returns a slot to be filled. It waits only for lossless readers; TimeoutError if that takes too long."""
        end = None if timeout is None else time.monotonic() + timeout
        since = {}
        counted = False
        with self._changed:
            try:
                while True:
                    if self._closed:
                        raise ValueError("the channel is closed")
                    pool = self._pool
                    needed = min((r.needs() for r in self._readers if r.mode == "lossless"), default=1 << 64)
                    order()
                    held = {slot for r in self._readers for slot in r.held()}
                    slot, blocked = pool.choose(held, needed)
                    if slot is not None:
                        if self._take(pool, slot):
                            return Loan(self, pool, slot)
                    elif not blocked:
                        raise NoSlot("every slot is on loan: publish one, or create the channel with more slots")
                    elif not counted:  # say so, fence, and look again
                        counted = True
                        self._waiting += 1
                        pool.words32[at.WANTED // 4] = 1
                        fence()
                        self._at("loan.wanted")
                    else:
                        pool.words32[at.WANTED // 4] = 1  # the pool may be another than the first time
                        fence()
                        self._await(blocked, since, end)
            finally:
                if counted:
                    self._waiting -= 1
                    if not self._waiting:
                        self._pool.words32[at.WANTED // 4] = 0

    def _take(self, pool, slot):
        """Makes a slot one that is being written, unless a reader has come first."""
        if pool.states[slot] == at.READY:
            pool.set(slot, at.RETIRED)
            fence()
            self._at("loan.retired")
            if any(slot in r.held() for r in self._readers):
                return False
        self._at("loan.checked")
        pool.generations[slot] = (pool.generations[slot] + 1) & 0xFFFFFFFF
        pool.set(slot, at.WRITING)
        order()
        pool.used = max(pool.used, slot + 1)
        pool.loans += 1
        self._at("loan.writing")
        return True

    def _await(self, frame, since, end):
        """Waits until something happened that may free the frame, and evicts who takes too long."""
        least = None
        now = time.monotonic()
        for r in self._readers:
            cursor = r.needs()
            if r.mode != "lossless" or cursor > frame:
                continue
            if since.get(r, (None,))[0] != cursor:
                since[r] = (cursor, now)
            left = r.deadline - (now - since[r][1])
            if left <= 0:
                r.mode, r.evicted = "every", True
                self._counts["evicted"] += 1
                self._say(r, EVICTED, b"the writer waited for this reader for longer than its deadline")
                return
            least = left if least is None else min(least, left)
        if least is None:
            return  # nobody needs it any more; whoever took it may have looked before this said that it waits
        if end is not None:
            if now >= end:
                raise TimeoutError("no slot became free in time")
            least = min(least, end - now)
        self._changed.wait(least)

    @staticmethod
    def _say(reader, kind, payload, fds=()):
        try:
            reader.line.send(kind, payload, fds)
            return True
        except OSError:
            return False

    def _publish(self, loan):
        with self._changed:
            pool, slot = loan._pool, loan._slot
            if self._closed:
                raise ValueError("the channel is closed")
            if pool is not self._pool:
                raise Reformatted("the format has changed since the slot was loaned")
            q, s = self._sequence + 1, pool.shape
            start = s.slots_at + slot * s.slot_size
            header = at.pack_frame(loan, q, s.epoch, slot, pool.generations[slot], time.monotonic_ns(), loan.used, s.format)
            pool.loans -= 1
            self._sequence = q
            pool.bytes[start:start + len(header)] = header
            self._at("publish.header")
            pool.sequences[slot] = pool.newest = q
            pool.set(slot, at.READY)
            self._at("publish.ready")
            order()
            entry = pool.generations[slot] << 32 | slot
            pool.words64[s.log_at // 8 + (q & (s.entries - 1))] = entry
            self._at("publish.logged")
            order()
            pool.words64[at.NEWEST // 8] = entry
            self._at("publish.newest")
            order()
            pool.words64[at.HEAD // 8] = q
            self._at("publish.head")
            self._ring(pool)
            self._at("publish.rung")
            self._counts["published"] += 1
            return int.from_bytes(self._channel[:8], "little"), q, slot, pool.generations[slot]

    def _drop(self, loan):
        with self._changed:
            loan._pool.loans -= 1
            self._counts["dropped"] += 1
            if loan._pool is self._pool:
                loan._pool.set(loan._slot, at.RETIRED)
                self._changed.notify_all()

    def _ring(self, pool):
        """Tells readers that something changed. FUTEX_WAKE is the fence before their words are looked at."""
        order()
        pool.words32[at.BELL // 4] = (pool.words32[at.BELL // 4] + 1) & 0xFFFFFFFF
        _memory.futex_wake(pool.mapping.address + at.BELL)
        for r in self._readers:
            if r.words.words32[at.ASLEEP // 4] == at.WANTS_EVENT:
                try:
                    os.write(r.event, b"\1\0\0\0\0\0\0\0")
                except BlockingIOError:
                    pass

    def reformat(self, format):
        """Changes the format: readers follow when they have taken what there is."""
        with self._changed:
            if self._closed:
                raise ValueError("the channel is closed")
            old = self._pool
            pool = self._new_pool(format, old.shape.epoch + 1)
            words = {}
            for r in list(self._readers):
                words[r] = Words()
                if not self._say(r, POOL, struct.pack("<II", pool.shape.epoch, r.holds), (pool.fd, words[r].fd)):
                    self._detach(r)
            self._at("reformat.sent")
            old.words32[at.CLOSED // 4] = at.MOVED
            self._ring(old)
            self._at("reformat.rung")
            for r, new in words.items():
                if r in self._readers:
                    os.close(r.words.fd)
                    r.words = new
                else:
                    os.close(new.fd)
            self._pool = pool
            os.close(old.fd)
            self._changed.notify_all()

    def serve(self, sock):
        """Takes over a connection on which a reader says what it wants: any connected Unix socket."""
        line = Messages(sock)
        reader = []  # the one that it becomes
        now = time.monotonic()
        with self._changed:
            for other, (since, its) in list(self._lines.items()):
                if not its and now - since > _HELLO_TIME:
                    self._lose(other)
            if self._closed or len(self._lines) >= self._most + _STRANGERS:
                line.close()
                return
            self._lines[line] = now, reader
            loop.add(line.fileno(), lambda: self._heard(line, reader))  # with the lock: close() closes it

    def _heard(self, line, reader):
        try:
            while True:
                message = line.receive(False)
                if message is None:
                    return
                kind, payload, fds = message
                if not reader and kind == HELLO and len(payload) == 16 and len(fds) <= 1:
                    if not self._attach(line, payload, living(fds), reader):
                        break
                elif not reader or kind != RELEASED or fds:
                    close_all(fds)
                    break
                with self._changed:
                    self._changed.notify_all()
        except OtherVersion:
            if not reader:
                self._refuse(line, 64, "this writer speaks version 1 of the protocol of frames")
        except (EOFError, OSError):
            pass
        with self._changed:
            self._lose(line)
            for r in reader:
                self._detach(r)

    @staticmethod
    def _refuse(line, code, why):
        try:
            line.send(REFUSED, struct.pack("<I", code) + why.encode())
        except OSError:
            pass  # it does not listen any more

    def _lose(self, line):
        if line in self._lines:
            del self._lines[line]
            loop.remove(line.fileno())
            line.close()

    def _died(self, r):
        with self._changed:
            self._detach(r)

    def _detach(self, r):
        """Forgets a reader, and with it what it held."""
        if r in self._readers:
            self._readers.remove(r)
            self._let_go(r)
            self._lose(r.line)
            self._changed.notify_all()

    @staticmethod
    def _let_go(r):
        if r.living >= 0:
            loop.remove(r.living)
        r.close()

    def _attach(self, line, payload, pidfd, reader):
        mode, holds, deadline, flags = struct.unpack("<IIII", payload)
        if mode not in _MODES and pidfd >= 0:
            os.close(pidfd)
        if mode == 4:
            text = json.dumps(self.stats()).encode()
            line.send(STATISTICS, struct.pack("<I", len(text)))
            line.sock.sendall(text)
            return False
        with self._changed:
            if self._closed:
                close_all([pidfd] if pidfd >= 0 and mode in _MODES else [])
                return False
            refusal = None
            if mode not in _MODES:
                refusal = 64, "mode %d is unknown" % mode
            elif len(self._readers) >= self._most:
                refusal = 75, "the channel has %d readers already, which is all that it may have" % len(self._readers)
            if refusal:
                close_all([pidfd] if pidfd >= 0 and mode in _MODES else [])
                self._refuse(line, *refusal)
                return False
            holds = min(holds or self._holds, self._holds)
            r = Attached(line, _MODES[mode], holds, min(deadline / 1000 or 1.0, self._patience), pidfd)
            pool = self._pool
            r.start = self._sequence if flags & 1 and self._sequence >= pool.shape.first else self._sequence + 1
            self._at("attach.ready")
            if not self._say(r, WELCOME, struct.pack("<IIIIQ16s", pool.shape.epoch, holds, int(r.deadline * 1000), 0, self._sequence, self._channel),
                             [pool.fd, r.words.fd, r.event] + self._own):
                r.close()
                return False
            self._at("attach.sent")
            self._readers.append(r)
            reader.append(r)
            if r.living >= 0:
                loop.add(r.living, lambda: self._died(r))
            return True

    def stats(self):
        """Returns what the writer knows, in the form that `switchboard frames stats --json` prints."""
        with self._changed:
            f, readers = self.format, []
            for r in self._readers:
                words = r.words.words64
                readers.append({"pid": r.pid, "mode": r.mode, "held": len([h for h in r.held() if h < self._pool.shape.slots]),
                                "behind": max(self._sequence - r.needs() + 1, 0), "received": words[at.RECEIVED // 8],
                                "missed": words[at.MISSED // 8], "evicted": r.evicted, **ages(r.words)})
            result = {"name": self.name, "format": repr(f), "frame_bytes": f.size, "epoch": self._pool.shape.epoch, "slots": self._slots,
                      "slots_used": self._pool.used, "sequence": self._sequence, "age_ns": time.monotonic_ns() - self._started,
                      "readers": readers, **self._counts}
            if f.fourcc:
                result.update(fourcc=f.fourcc.to_bytes(4, "little").decode("latin-1"), width=f.width, height=f.height)
            return result

    def close(self):
        """Ends the channel: readers take what they have not yet, and then their iteration ends."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._pool.words32[at.CLOSED // 4] = at.ENDED
            self._ring(self._pool)
            for r in self._readers:
                self._say(r, BYE, b"the writer has ended the channel")
                self._let_go(r)
            self._readers = []
            for line in list(self._lines):
                self._lose(line)
            os.close(self._pool.fd)
            close_all(self._own)
            self._changed.notify_all()
            end, self._end = self._end, None
        if end is not None:
            end()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _at(self, point):
        if self._fault is not None:
            self._fault(point)
