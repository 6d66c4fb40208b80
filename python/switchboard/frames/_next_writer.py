# SPDX-License-Identifier: Apache-2.0
"""Calling the next writer of a name."""

import os
import select
import socket
import time

from .. import _broker
from .._session import Watch

_NOT_READY = 0.05  # seconds after which a name that is there, but could not be called, is called again; and a broker that is not there


class NextWriter:
    """Calls the name of a channel as soon as somebody has it. It watches the name, so it costs nothing while it waits."""

    def __init__(self, name, runtime_dir=None):
        self._name, self._runtime_dir = name, runtime_dir
        self._stop, other = socket.socketpair()
        self._stopped = other.detach()

    def __call__(self, timeout=None):
        """Returns a socket that is connected to the writer. TimeoutError, in seconds; ValueError once it is closed."""
        end = None if timeout is None else time.monotonic() + timeout
        watch = None
        try:
            while True:
                try:
                    patience = 10.0 if end is None else min(10.0, max(end - time.monotonic(), 0.1))
                    return _broker.dial(self._name, runtime_dir=self._runtime_dir, timeout=patience)
                except _broker.SwitchboardError as e:
                    if e.code not in (69, 75):
                        raise
                    ready = e.code == 69
                if ready and watch is None:
                    try:
                        watch = Watch(self._name, runtime_dir=self._runtime_dir)
                    except OSError:
                        ready = False  # there is no broker
                if ready:
                    try:
                        while not self._appeared(watch, end):
                            pass
                        continue
                    except (ConnectionError, _broker.SwitchboardError):  # the broker is gone, or lost events
                        watch.close()
                        watch = None
                self._sleep((), end, _NOT_READY)
        finally:
            if watch is not None:
                watch.close()

    def _appeared(self, watch, end):
        """Waits for something to happen to the name; returns whether it can be worth calling now."""
        if not watch.pending:
            self._sleep((watch,), end)
        return any([event.kind in ("appeared", "changed") for event in watch.events()])

    def _sleep(self, things, end, longest=None):
        """Waits until one of the things is readable, or for the longest time in seconds."""
        poll = select.poll()
        for fd in (self._stopped, *(thing.fileno() for thing in things)):
            poll.register(fd, select.POLLIN)
        left = longest
        if end is not None:
            left = max(end - time.monotonic(), 0) if longest is None else min(max(end - time.monotonic(), 0), longest)
        ready = [fd for fd, _ in poll.poll(None if left is None else left * 1000 + 1)]
        if self._stopped in ready:
            raise ValueError("the reader is closed")
        if not ready and end is not None and time.monotonic() >= end:
            raise TimeoutError("nobody has the name %r" % self._name)

    def close(self):
        """Ends a call that waits, and those to come. Any thread may."""
        try:
            self._stop.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was closed before
        self._stop.close()

    def __del__(self):
        if getattr(self, "_stopped", -1) >= 0:
            self._stop.close()
            os.close(self._stopped)
