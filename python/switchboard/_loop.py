# SPDX-License-Identifier: Apache-2.0
"""One thread for what a program serves in the background: readers of its channels, listeners, links."""

import os
import select
import threading

_OVER = select.EPOLLHUP | select.EPOLLERR


class Loop:
    def __init__(self):
        self._lock = threading.Lock()  # guards what follows
        self._epoll = None
        self._calls = {}
        self._removed = set()  # since the thread began to wait: what it was told of these may be of those that had their numbers before

    def add(self, fd, ready, over=None):
        """Calls ready() in the loop's thread whenever the descriptor is readable, until remove().

        over() is called before, if the other side has hung up. It must not wait, nor let other threads run: those of all that hung up
        are called before any ready().
        """
        with self._lock:
            if self._epoll is None:
                self._epoll = select.epoll()
                threading.Thread(target=self._run, args=(self._epoll,), name="switchboard", daemon=True).start()
            self._epoll.register(fd, select.EPOLLIN)
            self._calls[fd] = ready, over

    def remove(self, fd):
        with self._lock:
            if self._calls.pop(fd, None) is not None:
                self._removed.add(fd)
                try:
                    self._epoll.unregister(fd)
                except (OSError, ValueError):
                    pass  # it was closed

    def _run(self, epoll):
        while epoll is self._epoll:
            with self._lock:
                removed = self._removed = set()
            # epoll takes what is added meanwhile. An empty set waits, too.
            calls = []
            for fd, what in epoll.poll(-1, 64):
                ready, over = self._calls.get(fd, (None, None))
                if ready is not None:
                    calls.append((fd, ready))
                    if over is not None and what & _OVER and fd not in removed:
                        over()
            for fd, ready in calls:
                try:
                    ready()
                except Exception:  # one bad connection is not to end the others
                    self.remove(fd)
            ready = over = calls = None  # nor to be kept until the next event

    def forked(self):
        # The thread is not in the child.
        self.__init__()


loop = Loop()
os.register_at_fork(after_in_child=loop.forked)
