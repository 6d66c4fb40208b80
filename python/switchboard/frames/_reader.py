# SPDX-License-Identifier: Apache-2.0
"""The reader's side (docs/frames.md, sections 4 to 7)."""

import select
import time
from typing import Optional

from .. import _memory
from .._fork import parents_only
from .._memory import WEAK, fence
from .._socket import RELEASED
from . import _layout as at
from ._errors import Evicted, WriterGone
from ._format import Format
from ._frame import Frame
from ._joining import MODES, Joining

_SLICE = 0.02  # for how long a sleep on the futex lasts before the connection is looked at
_A_SLICE = _memory.duration(_SLICE)


class Reader(Joining):
    """Frames of a channel, as a writer sends them on a connected Unix socket, which it owns from then on. Options: see open().

    Iterate over it, also with `async for`, or call next(); or poll(), with fileno(), in a loop of one's own. Iterating ends when the
    writer has ended the channel. For one thread at a time; frames may be released by any, and close() may be called by any.

    mode: as it was opened. received, missed: frames so far. channel: the channel's id, 16 bytes.
    """

    def __init__(self, sock, mode="latest", *, last=False, depth=0, holds=0, deadline=0.0, spin=0.0, wake="event", redial=None,
                 _fault=None):
        if mode not in MODES or wake not in ("event", "futex"):
            raise ValueError("mode %r, wake %r: latest, every or lossless; event or futex" % (mode, wake))
        self.mode, self.received, self.missed = mode, 0, 0
        self._options = (last, depth, holds, deadline)
        self._spin, self._futex, self._redial, self._fault = spin, wake == "futex", redial, _fault
        self._latest, self._lossless = mode == "latest", mode == "lossless"
        self._miss = 0
        self._late = False
        self._looked = 0.0
        self._coming = None  # the next writer, for who has a loop of asyncio
        self._closed = False
        self._line = self._view = None
        self._event = self._writer = -1  # the eventfd, and the writer's pidfd
        self._epoll = None  # for who has a loop of its own
        self._join(sock)
        parents_only(self)

    def forked(self):
        self._closed = True

    @property
    def format(self) -> Format:
        """The Format of the frames that come now. Each frame has its own, since it may change."""
        return self._view.shape.format

    def next(self, timeout: Optional[float] = None) -> Optional[Frame]:
        """Waits for the next frame, as the mode has it, and holds it. None: the writer has ended the channel.

        timeout: in seconds; 0 does not wait. TimeoutError: no frame came. WriterGone: the writer died; what it had published came before.
        Evicted: it did not wait for this lossless reader any longer. TooManyHeld: release one first. ValueError: the reader is closed.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            if self._closed:
                raise ValueError("the reader is closed")
            try:
                frame, ended, bell = self._step()
            except WriterGone:
                if self._redial is None and not self._closed:
                    raise
                ended = True
                frame = None
            if frame is not None:
                return frame
            if ended and not self._closed:
                if self._redial is None:
                    return None
                self._rejoin(end)
            elif bell is not None:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError("no frame came in time")
                try:
                    self._wait(bell, left)
                except OSError:
                    if not self._closed:  # else its descriptors are
                        raise

    def _step(self):
        """Returns (frame, whether the channel has ended, and the bell to wait for), or takes some step and returns no bell."""
        view, over, fault = self._view, self._over, self._fault
        words = view.words32
        bell = words[at.BELL // 4]
        if WEAK:
            fence()
        closed = words[at.CLOSED // 4]
        if WEAK:
            fence()
        head = view.words64[at.HEAD // 8]
        if WEAK:
            fence()
        if fault:
            fault("next.looked")
        if head >= self._want:
            frame = self._pick(view, head)
            if frame is not None:
                return frame, False, None
        if self._evicted:
            raise Evicted("the writer waited for this reader for longer than its deadline")
        if closed == at.MOVED:
            while not self._pools:
                if self._over is not None:
                    raise WriterGone("the writer of the frames is gone")
                self._hear(True)
            self._view = view = self._pools.pop(0)
            if self._want < view.shape.first:
                self._skip(view, view.shape.first)
            view.mine64[at.CURSOR // 8] = self._want
            return None, False, None
        if closed == at.ENDED or over == "ended":
            return None, True, None
        if over is not None:
            raise WriterGone("the writer of the frames is gone")
        return None, False, bell

    def _pick(self, view, head):
        """Takes the frame that the mode wants next, of those up to head, which is not before it."""
        depth = self._options[1]
        while head >= self._want:
            q = self._want
            if self._latest:
                q = head
            else:
                if depth and not self._lossless:
                    q = max(q, head - depth + 1)
                q = max(q, head - view.shape.entries + 1)  # the log has others in place of those before
            frame = view.take(q, self)
            if frame is not None:
                if q != self._want:
                    self._skip(view, q)
                self._want = q + 1
                frame.missed, self._miss = self._miss, 0
                if self._late:
                    frame.flags |= 4
                    self._late = False
                mine = view.mine64
                if WEAK:
                    fence()
                mine[at.CURSOR // 8] = q + 1
                if self._fault:
                    self._fault("next.advanced")
                if self._lossless:
                    self._tell(view)
                self.received += 1
                mine[at.RECEIVED // 8] = self.received
                age = time.monotonic_ns() - frame.published
                view.mine32[at.AGES // 4 + (min(age.bit_length(), at.AGE_BUCKETS - 1) if age > 0 else 0)] += 1
                return frame
            if self._latest:
                newer = view.words64[at.HEAD // 8]
                if newer == head:
                    raise OSError("the writer broke the rules: its newest frame is not there")
                head = newer
                if WEAK:
                    fence()
            elif self._lossless:
                raise Evicted("the writer waited for this reader for longer than its deadline")
            else:
                self._skip(view, q + 1)
        return None

    def _skip(self, view, to):
        """Goes on to a later frame, and counts those between as missed."""
        self._miss += to - self._want
        self.missed += to - self._want
        view.mine64[at.MISSED // 8] = self.missed
        self._want = to
        if WEAK:
            fence()
        view.mine64[at.CURSOR // 8] = to
        if self._fault:
            self._fault("next.advanced")
        if self._lossless:
            self._tell(view)

    def _tell(self, view):
        """Wakes a writer that waits for this reader, which is lossless."""
        fence()
        if view.words32[at.WANTED // 4] and self._over is None and view is self._view:
            try:
                self._line.send(RELEASED)
            except OSError:
                pass  # full: the writer has been told; gone: nobody waits

    def _wait(self, bell, timeout):
        view = self._view
        if self._spin:
            end = time.monotonic() + self._spin
            word = view.bell
            while time.monotonic() < end:
                for _ in range(20):
                    if word[0] != bell:
                        return
        asleep, fault = view.mine32, self._fault
        if self._futex:
            asleep[at.ASLEEP // 4] = at.ON_FUTEX
            if fault:
                fault("wait.asleep")
            try:  # The fence is the call itself: the kernel compares behind a barrier.
                _memory.futex_wait(view.bell_address, bell, _A_SLICE if timeout is None or timeout > _SLICE else _memory.duration(timeout))
            finally:  # a signal may raise an exception
                asleep[at.ASLEEP // 4] = 0
            if fault:
                fault("wait.woken")
            now = time.monotonic()
            if view.words32[at.BELL // 4] == bell or now - self._looked > _SLICE:
                self._looked = now
                self._look()
            return
        asleep[at.ASLEEP // 4] = at.WANTS_EVENT
        ready = ()
        try:
            fence()
            if fault:
                fault("wait.asleep")
            if view.words32[at.BELL // 4] == bell:
                ready = self._poll.poll(None if timeout is None else timeout * 1000 + 1)
        finally:
            asleep[at.ASLEEP // 4] = 0
        if fault:
            fault("wait.woken")
        for fd, _ in ready:
            if fd == self._event:
                self._drain()
            else:
                self._look()

    def fileno(self) -> int:
        """A descriptor for a loop of one's own: when poll() returned None, it becomes readable as soon as poll() is worth calling again."""
        if self._epoll is None:
            self._epoll = select.epoll()
            for fd in self._fds():
                self._epoll.register(fd, select.EPOLLIN)
        return self._epoll.fileno()

    def poll(self) -> Optional[Frame]:
        """Returns the next frame if there is one, else None. EOFError: the writer has ended the channel; else as next().

        It neither waits nor goes on to the next writer of a name.
        """
        if self._closed:
            raise ValueError("the reader is closed")
        while True:
            self._drain()
            self._look()
            frame, ended, bell = self._step()
            if frame is not None:
                return frame
            if ended:
                raise EOFError("the writer has ended the channel")
            if bell is None:
                continue
            view = self._view
            view.mine32[at.ASLEEP // 4] = at.WANTS_EVENT
            fence()
            if view.words32[at.BELL // 4] == bell:
                return None

    def close(self):
        """Ends reading, and gives back what is held. Who waits in next() gets a ValueError."""
        if not self._closed:
            self._closed = True
            stop = getattr(self._redial, "close", None)
            if stop is not None:
                stop()  # who waits for the next writer
            self._leave()
            if self._epoll is not None:
                self._epoll.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __iter__(self):
        return self

    def __next__(self):
        frame = self.next()
        if frame is None:
            raise StopIteration
        return frame

    def __aiter__(self):
        return self

    async def __anext__(self):
        import asyncio

        loop = asyncio.get_running_loop()
        while True:
            if self._coming is not None:
                coming = self._coming
                try:
                    await asyncio.shield(coming)  # who is cancelled can be followed by one who waits for the same
                finally:
                    if coming.done():
                        self._coming = None
            try:
                frame = self.poll()
            except (EOFError, WriterGone) as e:
                if self._redial is not None:
                    self._coming = loop.run_in_executor(None, self._rejoin, None)
                    self._coming.add_done_callback(lambda f: f.cancelled() or f.exception())
                    continue
                if isinstance(e, WriterGone):
                    raise
                raise StopAsyncIteration from None
            if frame is not None:
                return frame
            ready = loop.create_future()
            fd = self.fileno()
            loop.add_reader(fd, lambda: ready.done() or ready.set_result(None))
            try:
                await ready
            finally:
                loop.remove_reader(fd)

    def __del__(self):
        if getattr(self, "_view", None) is not None:
            self.close()
