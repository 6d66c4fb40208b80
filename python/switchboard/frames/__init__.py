# SPDX-License-Identifier: Apache-2.0
"""Video frames and tensors between processes, in shared memory: one writer, up to 32 readers, no copies.

    with switchboard.frames.open("com.example.camera", latest=True) as camera:
        for frame in camera:
            use(frame.array)
            frame.release()

    with switchboard.frames.create("com.example.camera", Format("BGRA", 1920, 1080)) as writer:
        with writer.loan() as frame:
            frame.array[:] = 255

docs/frames.md has the memory to the byte. Reader(sock) and Writer(format).serve(sock) work on any connected Unix socket.
"""

import threading
import time

from .. import _broker, _listener
from ._errors import Evicted, NoSlot, Reformatted, Refused, TooManyHeld, WriterGone
from ._format import BGRA, GRAY8, I420, NV12, RGBA, Colour, Format, Plane, Rate
from ._frame import Frame, Loan
from ._next_writer import NextWriter
from ._reader import MODES, Reader
from ._writer import Writer

__all__ = ["open", "create", "Format", "Reader", "Writer", "Frame", "Loan", "Plane", "Rate", "Colour", "WriterGone", "Evicted",
           "TooManyHeld", "NoSlot", "Reformatted", "Refused", "now", "BGRA", "RGBA", "NV12", "I420", "GRAY8"]

KEYFRAME, CORRUPT, DISCONTINUITY = 1, 2, 4


def now():
    """The time in nanoseconds of CLOCK_MONOTONIC, as in timestamps of frames."""
    return time.monotonic_ns()


def chosen(mode, options):
    """Takes latest=True, every=True or lossless=True out of options; returns the mode."""
    for name in MODES:
        if options.pop(name, False):
            mode = name
    return mode


def open(name, mode="latest", *, rejoin=False, runtime_dir=None, **options):
    """Reads the channel of a name.

    mode: "latest", "every" or "lossless" (or latest=True, …). last: the newest frame that there is comes first. depth: how far "every" may
    be behind. holds: how many frames may be held. deadline: seconds that the writer waits for "lossless". spin: seconds to look
    again and again before sleeping. wake: "event", or "futex", which notices a dead writer up to 20 ms later. rejoin: wait for the
    name, and for its next writer when one is gone.
    """
    mode = chosen(mode, options)
    if not rejoin:
        return Reader(_broker.dial(name, runtime_dir=runtime_dir), mode, **options)

    redial = NextWriter(name, runtime_dir)
    try:
        while True:
            try:
                return Reader(redial(), mode, redial=redial, **options)
            except WriterGone:
                pass
    except BaseException:
        redial.close()
        raise


def create(name, format, *, runtime_dir=None, **options):
    """Gives a channel a name. Returns a Writer.

    format: a Format, or such a text as "1920x1080@60:NV12". slots: how many slots the writer works with. readers: how many there may
    be. holds: how many frames each may hold. patience: seconds that the writer waits for a lossless reader at most.
    """
    writer = Writer(format, name=name, **options)
    try:
        listener = _listener.Listener(name, kind="channel", runtime_dir=runtime_dir)
    except BaseException:
        writer.close()
        raise
    writer._end = listener.close

    def accept():
        try:
            for sock in listener:
                try:
                    writer.serve(sock)
                except OSError:  # of this one only
                    sock.close()
        except OSError:
            pass  # the name is lost; who reads goes on

    threading.Thread(target=accept, name="switchboard " + name, daemon=True).start()
    return writer
