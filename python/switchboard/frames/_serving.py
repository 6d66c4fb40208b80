# SPDX-License-Identifier: Apache-2.0
"""The connections of a writer: how readers come and go (docs/frames.md, sections 6 and 8)."""

import contextlib
import json
import os
import select
import struct
import time

from .._loop import loop
from .._socket import HELLO, REFUSED, RELEASED, STATISTICS, WELCOME, Messages, OtherVersion, close_all, living
from ._pool import Attached

_HELLO_TIME = 10.0  # how long one who connects may take to say what it wants, before it may have to go
_STRANGERS = 64  # how many connections there may be beside those of readers
_MODES = {1: "latest", 2: "every", 3: "lossless"}


class Serving:
    """What a Writer has to do with connections. A background thread hears them, and loan() looks whether those that matter still live."""

    def _look(self):
        """Finds out which readers have ended, so that nothing waits for the background thread's turn. Returns whether one has."""
        self._looked = time.monotonic()
        over = {fd for fd, _ in self._lives.poll(0)}
        new = [r for r in self._readers if not r.dead and over and (r.line.fileno() in over or r.living in over)]
        for r in new:
            r.dead = True  # the background thread is told the same, and forgets it
        return bool(new)

    @staticmethod
    def _say(reader, kind, payload, fds=()):
        try:
            reader.line.send(kind, payload, fds)
            return True
        except OSError:
            return False

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
            loop.add(line.fileno(), lambda: self._heard(line, reader), lambda: self._dead(reader))  # with the lock: close() closes it

    @staticmethod
    def _dead(reader):
        for r in reader:
            r.dead = True

    @contextlib.contextmanager
    def _turn(self):
        """The lock, for the background thread, which loan() lets in."""
        self._knocks += 1
        with self._lock:
            self._knocks -= 1
            yield

    def _heard(self, line, reader):
        try:
            while not any([r.dead for r in reader]):
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
                with self._turn():
                    self._changed.notify_all()
        except OtherVersion:
            if not reader:
                self._refuse(line, 64, "this writer speaks version 1 of the protocol of frames")
        except (EOFError, OSError):
            pass
        self._forget(line, reader)

    def _forget(self, line, reader):
        """Forgets a connection, and the reader that it became. What takes time, and other threads' turns, comes after the news."""
        with self._turn():
            known = self._lines.pop(line, None)
            reader = [r for r in reader if r in self._readers]
            for r in reader:
                self._remove(r)
        if known is not None:
            loop.remove(line.fileno())
            line.close()
        for r in reader:
            self._let_go(r)

    def _died(self, r):
        r.dead = True
        self._forget(r.line, [r])

    def _remove(self, r):
        """Takes a reader, and what it held, out of what counts."""
        r.dead = True
        self._readers.remove(r)
        for fd in (r.line.fileno(), r.living):
            if fd >= 0:
                self._lives.unregister(fd)
        self._changed.notify_all()

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

    def _detach(self, r):
        """Forgets a reader that cannot be told what it must know."""
        if r in self._readers:
            self._remove(r)
            self._let_go(r)
            self._lose(r.line)

    @staticmethod
    def _let_go(r):
        if r.living >= 0:
            loop.remove(r.living)
        r.close()

    def _full(self):
        if len(self._readers) >= self._most:
            self._look()
        return sum([not r.dead for r in self._readers]) >= self._most

    def _attach(self, line, payload, pidfd, reader):
        mode, holds, deadline, flags = struct.unpack("<IIII", payload)
        if mode not in _MODES and pidfd >= 0:
            os.close(pidfd)
        if mode == 4:
            text = json.dumps(self.stats()).encode()
            line.send(STATISTICS, struct.pack("<I", len(text)))
            line.sock.sendall(text)
            return False
        with self._turn():
            if self._closed:
                close_all([pidfd] if pidfd >= 0 and mode in _MODES else [])
                return False
            refusal = None
            if mode not in _MODES:
                refusal = 64, "mode %d is unknown" % mode
            elif self._full():
                refusal = 75, "the channel has %d readers already, which is all that it may have" % self._most
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
            self._lives.register(line.fileno(), 0)  # of its hang-up it tells nevertheless
            if r.living >= 0:
                self._lives.register(r.living, select.POLLIN)
                loop.add(r.living, lambda: self._died(r))
            return True
