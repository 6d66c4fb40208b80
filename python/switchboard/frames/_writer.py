# SPDX-License-Identifier: Apache-2.0
"""The writer's side (docs/frames.md, sections 4 to 7)."""

import os
import secrets
import select
import struct
import threading
import time
from typing import Optional, Union

from .. import _memory
from .._fork import parents_only
from .._memory import WEAK, fence
from .._socket import BYE, EVICTED, POOL, close_all, own_pidfd
from . import _layout as at
from ._errors import NoSlot, Reformatted
from ._format import Format
from ._frame import Loan
from ._pool import Pool, Words, ages
from ._serving import Serving

_LOOK = 0.001  # how often a writer looks itself whether those that hold something still live


class Writer(Serving):
    """The side of a channel that has the memory. Options: see create(), which gives it a name; serve() gives it readers without one.

    Its methods may be called from any thread. A channel whose writer is dropped without close() goes on until the program ends.
    """

    def __init__(self, format, *, slots=4, readers=at.MAX_READERS, holds=4, patience=10.0, name="", _fault=None):
        if not (1 <= readers <= at.MAX_READERS and 1 <= holds <= at.MAX_HOLDS):
            raise ValueError("%d readers with %d holds: at least 1 of each, and at most %d and %d" % (
                readers, holds, at.MAX_READERS, at.MAX_HOLDS))
        self.name, self._slots, self._fault = name, slots, _fault
        self._most, self._holds, self._patience = readers, holds, patience
        self._channel = secrets.token_bytes(16)
        self._short = int.from_bytes(self._channel[:8], "little")
        self._lock = threading.RLock()  # guards everything, and every step of the protocol
        self._changed = threading.Condition(self._lock)
        self._knocks = 0  # whether the background thread waits for the lock, which a thread that publishes all the time hardly leaves it
        self._readers, self._lines, self._waiting = [], {}, 0  # lines: since when, and the reader that it became
        self._lives, self._looked = select.poll(), 0.0  # what tells of the end of readers, and when it was asked
        self._sequence = 0
        self._closed = False
        self._end = None  # ends what brings readers
        self._started = time.monotonic_ns()
        self._published = self._dropped = self._evicted = 0
        self._pool = self._new_pool(format, 1)
        self._own = own_pidfd()
        parents_only(self)

    def forked(self):
        self._closed = True
        self._lock = threading.RLock()  # another thread may have held the one that there was
        self._changed = threading.Condition(self._lock)

    def _new_pool(self, format, epoch):
        if isinstance(format, str):
            format = Format.parse(format)
        return Pool(at.Shape.new(format, self._slots, self._most * self._holds, self._channel, epoch, self._sequence + 1))

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def format(self) -> Format:
        """The Format of the slots that are loaned now."""
        return self._pool.shape.format

    def loan(self, timeout: Optional[float] = None) -> Loan:
        """Returns a slot to be filled. It waits only for lossless readers, for each up to its deadline.

        timeout: in seconds. TimeoutError: it took longer. NoSlot: all are on loan. ValueError: the channel is closed.
        """
        end = None if timeout is None else time.monotonic() + timeout
        since = {}
        counted = False
        if self._knocks:
            time.sleep(0.00002)  # or the lock would be taken again before the other thread runs
        with self._lock:
            try:
                while True:
                    if self._closed:
                        raise ValueError("the channel is closed")
                    pool = self._pool
                    held, needed = self._holding()
                    if held and time.monotonic() - self._looked > _LOOK and self._look():
                        held, needed = self._holding()
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
                        self._look()
                    else:
                        pool.words32[at.WANTED // 4] = 1  # the pool may be another than the first time
                        fence()
                        self._await(blocked, since, end)
            finally:
                if counted:
                    self._waiting -= 1
                    if not self._waiting:
                        self._pool.words32[at.WANTED // 4] = 0

    def _holding(self):
        """Returns the slots that readers hold, and the first frame that a lossless one needs."""
        held, needed = (), 1 << 64
        for r in self._readers:
            if r.dead:
                continue
            if r.mode == "lossless":
                needed = min(needed, r.needs())
                if WEAK:
                    fence()
            its = r.held()
            if its:
                held = held + its if held else its
        return held, needed

    def _take(self, pool, slot):
        """Makes a slot one that is being written, unless a reader has come first."""
        fault = self._fault
        if pool.retired and slot in pool.retired:
            pool.retired.remove(slot)
        elif slot < pool.used:
            if pool.ready[0] == slot:
                pool.ready.popleft()
            else:
                pool.ready.remove(slot)
            pool.set(slot, at.RETIRED)
            fence()
            if fault:
                fault("loan.retired")
            for r in self._readers:
                if not r.dead and slot in r.held():
                    pool.retired.append(slot)
                    return False
        else:
            pool.used += 1
        if fault:
            fault("loan.checked")
        pool.generations[slot] = (pool.generations[slot] + 1) & 0xFFFFFFFF
        pool.set(slot, at.WRITING)
        if WEAK:
            fence()
        pool.loans += 1
        if fault:
            fault("loan.writing")
        return True

    def _await(self, frame, since, end):
        """Waits until something happened that may free the frame, and evicts who takes too long."""
        least = None
        now = time.monotonic()
        for r in self._readers:
            cursor = r.needs()
            if r.dead or r.mode != "lossless" or cursor > frame:
                continue
            if since.get(r, (None,))[0] != cursor:
                since[r] = (cursor, now)
            left = r.deadline - (now - since[r][1])
            if left <= 0:
                r.mode, r.evicted = "every", True
                self._evicted += 1
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

    def _publish(self, loan):
        with self._lock:
            pool, slot, fault, q = loan._pool, loan._slot, self._fault, self._sequence + 1
            if self._closed:
                raise ValueError("the channel is closed")
            if pool is not self._pool:
                raise Reformatted("the format has changed since the slot was loaned")
            generation = pool.generations[slot]
            at.pack_frame(loan, q, pool, slot, generation, time.monotonic_ns())
            self._sequence = pool.sequences[slot] = q
            if fault:
                fault("publish.header")
            pool.ready.append(slot)
            pool.loans -= 1
            pool.set(slot, at.READY)
            if fault:
                fault("publish.ready")
            if WEAK:
                fence()
            words = pool.words64
            entry = generation << 32 | slot
            words[pool.log + (q & pool.mask)] = entry
            if fault:
                fault("publish.logged")
            if WEAK:
                fence()
            words[at.NEWEST // 8] = entry
            if fault:
                fault("publish.newest")
            if WEAK:
                fence()
            words[at.HEAD // 8] = q
            if fault:
                fault("publish.head")
            self._ring(pool)
            if fault:
                fault("publish.rung")
            self._published += 1
            return self._short, q, slot, generation

    def _drop(self, loan):
        with self._lock:
            pool, slot = loan._pool, loan._slot
            if slot in pool.ready:
                return  # an exception came out of publish() when it was done
            pool.loans -= 1
            self._dropped += 1
            if pool is self._pool:
                pool.set(slot, at.RETIRED)
                pool.retired.append(slot)
                self._changed.notify_all()

    def _ring(self, pool):
        """Tells readers that something changed."""
        if WEAK:
            fence()
        words = pool.words32
        words[at.BELL // 4] = (words[at.BELL // 4] + 1) & 0xFFFFFFFF
        fence()
        sleepers = False
        for r in self._readers:
            if r.dead:
                continue
            asleep = r.words.words32[at.ASLEEP // 4]
            if asleep == at.ON_FUTEX:
                sleepers = True
            elif asleep == at.WANTS_EVENT:
                try:
                    os.write(r.event, b"\1\0\0\0\0\0\0\0")
                except BlockingIOError:
                    pass
        if sleepers:
            _memory.futex_wake(pool.mapping.address + at.BELL)

    def reformat(self, format: Union[Format, str]) -> None:
        """Changes the format: readers follow when they have taken what there is. Loans of the old one cannot be published any more."""
        with self._changed:
            if self._closed:
                raise ValueError("the channel is closed")
            old = self._pool
            pool = self._new_pool(format, old.shape.epoch + 1)
            words = {}
            for r in list(self._readers):
                words[r] = Words(r.holds)
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

    def stats(self) -> dict:
        """Returns what the writer knows, in the form that `switchboard frames stats --json` prints: numbers of frames and bytes, ns."""
        with self._changed:
            f, readers = self.format, []
            self._look()
            for r in self._readers:
                if r.dead:
                    continue
                words = r.words.words64
                readers.append({"pid": r.pid, "mode": r.mode, "held": len([h for h in r.held() if h < self._pool.shape.slots]),
                                "behind": max(self._sequence - r.needs() + 1, 0), "received": words[at.RECEIVED // 8],
                                "missed": words[at.MISSED // 8], "evicted": r.evicted, **ages(r.words)})
            result = {"name": self.name, "format": repr(f), "frame_bytes": f.size, "epoch": self._pool.shape.epoch, "slots": self._slots,
                      "slots_used": self._pool.used, "sequence": self._sequence, "age_ns": time.monotonic_ns() - self._started,
                      "readers": readers, "published": self._published, "dropped": self._dropped, "evicted": self._evicted}
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
            self._readers, self._lives = [], select.poll()
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
