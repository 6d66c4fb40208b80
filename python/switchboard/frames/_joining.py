# SPDX-License-Identifier: Apache-2.0
"""The connection of a reader (docs/frames.md, sections 6 and 8)."""

import os
import select
import struct
import time

from .._socket import BYE, EVICTED, HELLO, POOL, REFUSED, WELCOME, Messages, close_all, living, own_pidfd
from . import _layout as at
from ._errors import Refused, WriterGone
from ._view import View

MODES = {"latest": 1, "every": 2, "lossless": 3}


class Joining:
    """What a Reader has to do with its connection: it joins a writer, hears it, and leaves it."""

    def _join(self, sock):
        last, _, holds, deadline = self._options
        self._line = Messages(sock)
        try:
            own = own_pidfd()
            try:
                self._line.send(HELLO, struct.pack("<IIII", MODES[self.mode], holds, int(deadline * 1000), bool(last)), own)
            finally:
                close_all(own)
            kind, payload, fds = self._line.receive()
        except (EOFError, ConnectionError):
            self._line.close()
            raise WriterGone("the writer of the frames is gone") from None
        except BaseException:
            self._line.close()
            raise
        try:
            if kind == REFUSED:
                raise Refused(struct.unpack_from("<I", payload)[0], payload[4:].decode("utf-8", "replace"))
            if kind != WELCOME or len(fds) not in (3, 4):
                raise OSError("the writer sent a message of kind %d" % kind)
            _, granted, _, _, head, self.channel = struct.unpack("<IIIIQ16s", payload)
            if not 1 <= granted <= at.MAX_HOLDS:
                raise OSError("the writer granted %d holds" % granted)
            pair, event, rest = fds[:2], fds[2], fds[3:]
            fds = [event] + rest
            self._view = View(pair, granted)
            fds = []
            self._event, self._writer = event, living(rest)
        except BaseException:
            close_all(fds)
            self._line.close()
            raise
        self._pools, self._over, self._evicted = [], None, False
        os.set_blocking(self._event, False)
        first = self._view.shape.first
        self._want = head if last and head >= first else max(head + 1, first)
        self._view.mine64[at.CURSOR // 8] = self._want
        self._poll, self._living = select.poll(), select.poll()
        if self._writer >= 0:
            self._living.register(self._writer, select.POLLIN)
        for fd in self._fds():
            self._poll.register(fd, select.POLLIN)
            if self._epoll is not None:
                self._epoll.register(fd, select.EPOLLIN)

    def _fds(self):
        return [fd for fd in (self._event, self._line.fileno(), self._writer) if fd >= 0]

    def _look(self):
        """Looks whether the writer has said something, or is gone."""
        if self._writer >= 0 and self._over is None and self._living.poll(0):
            self._line.hang_up()
        self._hear(False)

    def _drain(self):
        try:
            os.read(self._event, 8)
        except BlockingIOError:
            pass

    def _hear(self, wait):
        """Takes what the writer has sent."""
        while self._over is None:
            try:
                message = self._line.receive(wait)
            except (EOFError, OSError):
                self._over = "gone"
                return
            if message is None:
                return
            wait = False
            kind, payload, fds = message
            if kind == POOL and len(fds) == 2:
                _, holds = struct.unpack("<II", payload)
                self._pools.append(View(fds, min(max(holds, 1), at.MAX_HOLDS)))
                continue
            close_all(fds)
            if kind == EVICTED:
                self._evicted = True
            elif kind == BYE:
                self._over = "ended"

    def _rejoin(self, end):
        self._leave()
        while not self._closed:
            try:
                self._join(self._redial(None if end is None else max(end - time.monotonic(), 0)))
            except WriterGone:
                continue
            except (OSError, ValueError):
                if self._closed:
                    raise ValueError("the reader is closed") from None
                raise
            self._late = True
            if self._closed:  # meanwhile
                self._leave()
            return

    def _leave(self):
        for fd in self._fds() if self._epoll is not None else ():
            self._epoll.unregister(fd)
        self._line.close()
        close_all(fd for fd in (self._event, self._writer) if fd >= 0)
        self._event = self._writer = -1
        self._over = self._over or "gone"  # until there is another one
