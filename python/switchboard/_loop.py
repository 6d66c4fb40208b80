# SPDX-License-Identifier: Apache-2.0
"""One thread for what a program serves in the background: readers of its channels, listeners, links."""

import os
import selectors
import threading


class Loop:
    def __init__(self):
        self._lock = threading.Lock()  # guards what follows
        self._selector = None

    def add(self, fd, ready):
        """Calls ready() in the loop's thread whenever the descriptor is readable, until remove()."""
        with self._lock:
            if self._selector is None:
                self._selector = selectors.EpollSelector()
                threading.Thread(target=self._run, args=(self._selector,), name="switchboard", daemon=True).start()
            self._selector.register(fd, selectors.EVENT_READ, ready)

    def remove(self, fd):
        with self._lock:
            if self._selector is not None:
                try:
                    self._selector.unregister(fd)
                except (KeyError, ValueError):
                    pass

    def _run(self, selector):
        while selector is self._selector:
            # epoll takes what is added meanwhile. An empty set waits, too.
            for key, _ in selector.select():
                try:
                    key.data()
                except Exception:  # one bad connection is not to end the others
                    self.remove(key.fd)

    def forked(self):
        # The thread is not in the child.
        self.__init__()


loop = Loop()
os.register_at_fork(after_in_child=loop.forked)
