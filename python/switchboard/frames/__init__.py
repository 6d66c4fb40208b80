# SPDX-License-Identifier: Apache-2.0
"""Video frames and tensors between processes, in shared memory: one writer, up to 32 readers, no copies.

    with switchboard.frames.create("com.example.camera", Format("BGRA", 1920, 1080)) as camera:
        with camera.loan() as frame:            # published at the end of the with
            frame.array[:] = 255                # with numpy; without it: frame.planes, memoryviews that can be written

    with switchboard.frames.open("com.example.camera", latest=True) as camera:
        for frame in camera:
            with frame:                         # held, and so unchanged, until the end of the with
                use(frame.array)                # or frame.planes, which are read-only; or torch.from_dlpack(frame)

With asyncio it is `async for frame in camera`; for any other loop there are Reader.fileno() and Reader.poll(). A parent and its child
need no name: switchboard.parent().

Times are nanoseconds of CLOCK_MONOTONIC, as now() has them; time-outs are seconds, and None waits for ever. A frame's flags are KEYFRAME,
CORRUPT and DISCONTINUITY (frames of another writer came before). BGRA, RGBA, NV12, I420 and GRAY8 are codes of DRM, as in Format.fourcc.

WriterGone, Evicted and Refused are ConnectionErrors: the channel cannot be read any more. NoSlot, TooManyHeld and Reformatted are
RuntimeErrors: something has to be given back first. Names that nobody has, or that may not be called, are a SwitchboardError.

docs/frames.md has the memory to the byte. Reader(sock) and Writer(format).serve(sock) work on any connected Unix socket.
"""

import threading
import time
from typing import Optional, Union

from .. import _broker, _listener
from ._errors import Evicted, NoSlot, Reformatted, Refused, TooManyHeld, WriterGone
from ._format import BGRA, GRAY8, I420, NV12, RGBA, Colour, Format, Plane, Rate
from ._frame import Frame, Loan
from ._next_writer import NextWriter
from ._reader import MODES, Reader
from ._writer import Writer

__all__ = ["open", "create", "Format", "Reader", "Writer", "Frame", "Loan", "Plane", "Rate", "Colour", "WriterGone", "Evicted",
           "TooManyHeld", "NoSlot", "Reformatted", "Refused", "now", "KEYFRAME", "CORRUPT", "DISCONTINUITY",
           "BGRA", "RGBA", "NV12", "I420", "GRAY8"]

KEYFRAME, CORRUPT, DISCONTINUITY = 1, 2, 4


def now() -> int:
    """The time in nanoseconds of CLOCK_MONOTONIC, as in timestamps of frames."""
    return time.monotonic_ns()


def chosen(mode, options):
    """Takes latest=True, every=True or lossless=True out of options; returns the mode."""
    for name in MODES:
        if options.pop(name, False):
            mode = name
    return mode


def open(name: str, mode: str = "latest", *, latest: bool = False, every: bool = False, lossless: bool = False, last: bool = False,
         depth: int = 0, holds: int = 0, deadline: float = 0.0, spin: float = 0.0, wake: str = "event", rejoin: bool = False,
         runtime_dir: Optional[str] = None) -> Reader:
    """Reads the channel of a name. Returns a Reader: iterate over it.

    mode, or latest=True and so on: which frames.
        "latest": the newest each time. "every": each in order, but those that are gone before they are taken: Frame.missed counts them.
        "lossless": each in order, and the writer waits for this reader, up to a deadline.
    last: the newest frame that there is comes first; else the first is the next that is published.
    depth: of "every": how many frames it may be behind before it skips some. 0: as many as there are.
    holds: how many frames may be held at once, 1 to 16. 0: as many as the writer grants, 4 unless it says otherwise; never more than that.
    deadline: of "lossless": seconds that the writer waits for it before it is evicted. 0: 1 s; the writer has a limit.
    spin: seconds to look again and again, with a processor of its own, before it sleeps.
    wake: how it sleeps: "event" on an eventfd; "futex" on the memory itself, which notices a dead writer up to 20 ms later.
    rejoin: waits for the name, and, when its writer is gone, or has ended the channel, for the next one of the name.
    runtime_dir: the folder of the broker's sockets, if it is not that of switchboard.runtime_dir().

    SwitchboardError: nobody has the name (code 69), or it may not be called (77). WriterGone; Refused, as by one that has all its readers.
    ValueError: an option cannot be.
    """
    mode = chosen(mode, {"latest": latest, "every": every, "lossless": lossless})
    options = {"last": last, "depth": depth, "holds": holds, "deadline": deadline, "spin": spin, "wake": wake}
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


def create(name: str, format: Union[Format, str], *, slots: int = 4, readers: int = 32, holds: int = 4, patience: float = 10.0,
           runtime_dir: Optional[str] = None) -> Writer:
    """Makes a channel, and gives it a name. Returns a Writer.

    format: a Format, or such a text as "1920x1080@60:NV12".
    slots: how many slots the writer works with: one is published, the others can be on loan, or be kept for readers that are behind.
    readers: how many there may be, 1 to 32. holds: how many frames each may hold, 1 to 16. Memory is used only by slots that are.
    patience: seconds that the writer waits for a lossless reader, whatever that wishes.
    runtime_dir: the folder of the broker's sockets, if it is not that of switchboard.runtime_dir().

    SwitchboardError: somebody has the name (code 75), or it is none (64). ValueError: the format, or an option, cannot be.
    """
    writer = Writer(format, slots=slots, readers=readers, holds=holds, patience=patience, name=name)
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
