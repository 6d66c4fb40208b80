# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a channel."""


class WriterGone(ConnectionError):
    """The writer died, or was lost. What it had published was delivered before."""


class Evicted(ConnectionError):
    """The writer waited for this lossless reader until its deadline, and does so no more."""


class TooManyHeld(RuntimeError):
    """The next frame would be one more than the reader may hold. Release one."""


class NoSlot(RuntimeError):
    """Every slot is on loan: publish or drop one, or create the channel with more slots."""


class Reformatted(RuntimeError):
    """The format changed while the slot was on loan: it cannot be published. Take another."""


class Refused(ConnectionError):
    """The writer refuses the reader. code is one of sysexits.h: 64 usage, 75 it has all its readers."""

    def __init__(self, code, text):
        super().__init__("the writer refuses: " + text)
        self.code = code
