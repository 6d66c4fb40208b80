# SPDX-License-Identifier: Apache-2.0
"""Having a name."""

import os
import select
import socket
import threading
import time
from typing import Optional

from ._broker import SwitchboardError
from ._session import claim, release


class Listener:
    """A name that this program has, and those who call it: accept() returns a connected socket for each.

    It outlives the broker: the next one is asked for the name again. For one thread; close() may be called by any.
    """

    def __init__(self, name, *, kind="service", version="", scope="", runtime_dir=None):
        self.name = name
        self._options = {"kind": kind, "version": version, "scope": scope, "runtime_dir": runtime_dir}
        self._session, self._sock, self._lease = claim(name, **self._options)
        self._process = os.getpid()
        self._stop, self._stopped = socket.socketpair()
        self._lock = threading.Lock()  # guards what follows, and that nothing is opened once it is closed
        self._closed = False

    def accept(self) -> socket.socket:
        """Waits for the next caller. ValueError once the listener is closed."""
        while not self._closed:
            poll = select.poll()
            try:
                for s in (self._session, self._sock, self._stopped):
                    poll.register(s.fileno(), select.POLLIN)
            except ValueError:  # just closed
                break
            ready = [fd for fd, _ in poll.poll()]
            if self._closed or self._stopped.fileno() in ready:
                break
            if self._sock.fileno() in ready:
                try:
                    caller, _ = self._sock.accept()
                    return caller
                except OSError:
                    continue
            if self._session.fileno() in ready:
                self._hear()
        raise ValueError("the listener is closed")

    def _hear(self):
        """Something came from the broker. If that is its end, the next one is asked."""
        try:
            self._session.receive()
        except (ConnectionError, OSError):
            self._session.close()
            self._sock.close()
            for attempt in range(200):
                try:
                    session, sock, lease = claim(self.name, **self._options)
                except (SwitchboardError, OSError):
                    if attempt == 199 or self._closed:
                        raise
                    time.sleep(0.05)
                    continue
                with self._lock:
                    if not self._closed:
                        self._session, self._sock, self._lease = session, sock, lease
                        return
                sock.close()
                session.close()
                return

    def close(self):
        """Gives the name back: when this returns, another program can have it."""
        if self._process != os.getpid():  # a forked child has it, but it is not the child's: only its descriptors are
            self._closed = True
            self._sock.close()
            self._session.close()
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._stop.close()
            self._sock.close()
            release(self._session, self._lease)
            self._session.close()
            self._stopped.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self.accept()
        except ValueError:
            raise StopIteration from None


def listen(name: str, *, version: str = "", scope: str = "", runtime_dir: Optional[str] = None) -> Listener:
    """Gives this program a name. Returns a Listener: iterate over it, or call accept().

    version: such as "1.4.0". scope: the folder that it serves; others can have the name for others.
    SwitchboardError: somebody has the name (code 75), or it is none (64).
    """
    return Listener(name, version=version, scope=scope, runtime_dir=runtime_dir)
