# SPDX-License-Identifier: Apache-2.0


class WriterGone(ConnectionError):
    """The writer died, or was lost. What it had published was delivered before."""


class Evicted(ConnectionError):
    """The writer waited for this lossless reader until its deadline, and does so no more."""


class TooManyHeld(RuntimeError):
    """The next frame would be one more than the reader may hold. Release one."""


class NoSlot(RuntimeError):
    """Every slot is on loan."""


class Reformatted(RuntimeError):
    """The format changed while the slot was on loan."""


class Refused(ConnectionError):
    """The writer refuses the reader. code is one of sysexits.h."""

    def __init__(self, code, text):
        super().__init__("the writer refuses: " + text)
        self.code = code
