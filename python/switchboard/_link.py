# SPDX-License-Identifier: Apache-2.0
"""Channels between a parent and its child, over one inherited socket pair (docs/frames.md, section 9)."""

import os
import socket
import threading

from ._loop import loop
from ._socket import CONNECT, Messages, close_all


class Link:
    """The socket pair between two processes: open the other's channels by name, and create some for it.

    By convention the parent writes "in", and the child writes "out".
    """

    def __init__(self, sock):
        self._line = Messages(sock)
        self._lock = threading.Lock()  # guards what follows
        self._writers, self._waiting, self._shared = {}, {}, set()
        self._listening = False

    def open(self, channel="in", mode="latest", **options):
        """Reads a channel of the other end; it waits until that has made it. Returns a Reader. WriterGone: nobody is there.

        mode, or latest=True and so on, and other options: see frames.open().
        """
        from .frames import Reader, WriterGone, chosen

        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._line.send(CONNECT, channel.encode(), (theirs.fileno(),))
            except ConnectionError:
                ours.close()
                raise WriterGone("nobody is at the other end of the link any more") from None
            except BaseException:
                ours.close()
                raise
        return Reader(ours, chosen(mode, options), **options)

    def create(self, channel="out", format=None, **options):
        """Makes a channel that the other end can open. Returns a Writer. Options: see frames.create(). ValueError: there is one."""
        from .frames import Writer

        writer = Writer(format, name=channel, **options)
        try:
            self._add(channel, writer, False)
        except ValueError:
            writer.close()
            raise
        writer._end = lambda: self._forget(channel)
        return writer

    def share(self, channel, writer):
        """Lets the other end open a channel that this program has already. Closing the link leaves it open."""
        self._add(channel, writer, True)

    def _add(self, channel, writer, shared):
        with self._lock:
            if channel in self._writers and not self._writers[channel].closed:
                raise ValueError("this side of the link has a channel %r" % channel)
            self._writers[channel] = writer
            (self._shared.add if shared else self._shared.discard)(channel)
            callers = self._waiting.pop(channel, [])
            first, self._listening = not self._listening, True
        for caller in callers:
            writer.serve(caller)
        if first:
            loop.add(self._line.fileno(), self._heard)

    def _forget(self, channel):
        with self._lock:
            self._writers.pop(channel, None)

    def _heard(self):
        try:
            message = self._line.receive(False)
        except (EOFError, OSError):
            loop.remove(self._line.fileno())
            with self._lock:  # nobody will make those channels that there are not yet
                callers, self._waiting = self._waiting, {}
            for sock in (s for several in callers.values() for s in several):
                sock.close()
            return
        if message is None:
            return
        kind, payload, fds = message
        if kind != CONNECT or len(fds) != 1:
            close_all(fds)
            return
        sock = socket.socket(fileno=fds[0])
        sock.setblocking(True)
        channel = payload.decode("utf-8", "replace")
        with self._lock:
            writer = self._writers.get(channel)
            if writer is None:
                self._waiting.setdefault(channel, []).append(sock)
        if writer is not None:
            writer.serve(sock)

    def close(self):
        """Ends the link, and the channels that this side has on it."""
        with self._lock:
            writers = [w for channel, w in self._writers.items() if channel not in self._shared]
            callers, self._waiting = self._waiting, {}
        for sock in (s for several in callers.values() for s in several):
            sock.close()
        for writer in writers:
            writer.close()
        if self._listening:
            loop.remove(self._line.fileno())
        self._line.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


_parent = None


def parent() -> Link:
    """The link to the process that started this one with a link (in Go: frames.Child).

    RuntimeError: it was started without one: SWITCHBOARD_SOCKET_FD, a connected Unix socket that it inherits, is not set, or is none.
    """
    global _parent
    if _parent is None:
        number = os.environ.get("SWITCHBOARD_SOCKET_FD") or os.environ.get("STREAMLIB_SOCKET_FD")
        if not number:
            raise RuntimeError("this program was not started with SWITCHBOARD_SOCKET_FD")
        try:
            sock = socket.socket(fileno=int(number))
            sock.set_inheritable(False)
            sock.setblocking(True)
            if sock.family != socket.AF_UNIX:
                sock.detach()
                raise OSError("it is no Unix socket")
        except (OSError, ValueError) as e:
            raise RuntimeError("the parent cannot be reached through SWITCHBOARD_SOCKET_FD=%s: %s" % (number, e)) from None
        for name in ("SWITCHBOARD_SOCKET_FD", "STREAMLIB_SOCKET_FD"):
            os.environ.pop(name, None)  # it is not for the children of this one
        _parent = Link(sock)
    return _parent
