# SPDX-License-Identifier: Apache-2.0
"""What a forked child must not use, since it is its parent's: connections, and words in shared memory."""

import os
import weakref

_all = weakref.WeakSet()


def parents_only(thing):
    """Has thing.forked() called in every child that is forked while there is the thing."""
    _all.add(thing)


def _forked():
    for thing in list(_all):
        thing.forked()


os.register_at_fork(after_in_child=_forked)
