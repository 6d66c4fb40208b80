# SPDX-License-Identifier: Apache-2.0
"""Frames: those that a reader holds, and those that a writer fills."""

from typing import Tuple


class Hold:
    """What keeps a slot from being used again. The planes of a frame refer to it: it ends with the last of them, or by release()."""

    __slots__ = ("view", "index", "reader")

    def __init__(self, view, index, reader):
        self.view, self.index, self.reader = view, index, reader

    def release(self):
        view, self.view = self.view, None
        if view is not None:
            view.give_back(self.index, self.reader)

    __del__ = release


_FIELDS = {  # of frames and loans
    "timestamp": "When it was captured, in ns of CLOCK_MONOTONIC. A loan that leaves it 0 has the time of publishing.",
    "duration": "In ns; 0: not said.",
    "flags": "KEYFRAME, CORRUPT, DISCONTINUITY, or several with |.",
    "crop": "(x, y, width, height) in pixels of what is to be seen; None: all.",
    "transform": "Rotation and flip, as wl_output_transform has them: 0 to 7.",
    "answers": "The id of the frame that this one was made of; None: of none.",
    "colour": "A Colour: of a loan, where it is not that of the format (None).",
    "metadata": "Bytes of the user's own, up to 3,840.",
    "format": "Its Format.",
}


class _Picture:
    """What frames and loans have in common: planes, and arrays of them."""

    __slots__ = ()

    @property
    def arrays(self):
        """A numpy array of each plane, without a copy: rows, columns, and channels where a pixel has several (BGRA: height, width, 4).

        The planes of a subsampled format are smaller; a tensor has its own shape and type; of a coded stream it is the bytes.
        Arrays of a frame cannot be written, and must not be used after release(). ImportError without numpy.
        """
        import numpy

        result = []
        for i, plane in enumerate(self.planes):
            kind, shape, strides = self.format.strided(i)
            if len(shape) > 0 and len(plane) < self.format.planes[i].size:  # a coded stream
                shape, strides, kind = (len(plane),), (1,), "u1"
            result.append(numpy.ndarray(shape, kind, plane, 0, strides))
        return result

    @property
    def array(self):
        """A numpy array of the only plane, as in arrays. ValueError: the format has several."""
        arrays = self.arrays
        if len(arrays) != 1:
            raise ValueError("%s has %d planes: use arrays" % (self.format.name, len(arrays)))
        return arrays[0]

    def __dlpack__(self, *, stream=None, max_version=None, **_):
        """For torch.from_dlpack(frame), numpy.from_dlpack and the like: the only plane, without a copy, on the CPU. BufferError: several."""
        from ._dlpack import export

        return export(self, max_version)

    def __dlpack_device__(self):
        return 1, 0  # the CPU


class Frame(_Picture):
    """One frame that a reader holds: its planes are the writer's memory, which does not change until release().

    It releases itself when nothing refers to it any more, nor to a plane or an array of it. `with frame:` releases it at its end.
    """

    __slots__ = {
        **_FIELDS,
        "planes": "Read-only memoryviews of bytes, one for each plane, without a copy. After release() they raise ValueError.",
        "sequence": "Its number in the channel, from 1.", "missed": "How many frames this reader missed right before it.",
        "published": "When it was published, in ns of CLOCK_MONOTONIC.", "epoch": "The number of the format in the channel, from 1.",
        "slot": "Where it lies.", "generation": "Which frame of that slot it is.", "channel": "The first half of the channel's id, as a number.",
        "_hold": None}
    _start = 0  # where the slot begins in what the planes are of

    @property
    def id(self) -> Tuple[int, int, int, int]:
        """(channel, sequence, slot, generation): what names the frame for good; for the answers of one that is made of it."""
        return self.channel, self.sequence, self.slot, self.generation

    def release(self):
        """Gives the frame back. Planes and arrays of it must not be used any more. Again it does nothing."""
        for plane in self.planes:
            try:
                plane.release()  # so that a use of it is an error
            except BufferError:  # an array of it is still there
                pass
        self.planes = ()
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.release()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()

    def __repr__(self):
        return "<frame %d, %r, slot %d#%d%s>" % (self.sequence, self.format, self.slot, self.generation, "" if self._hold else ", released")


class Loan(_Picture):
    """A slot that the writer has got, to be filled and published: by `with`, at its end, unless an exception leaves it. Then it is dropped.

    It drops itself when nothing refers to it any more.
    """

    __slots__ = {
        **_FIELDS,
        "planes": "Memoryviews of bytes, one for each plane, to be written; what was in the slot before is still there. None after publish().",
        "used": "How many bytes of each plane are used: a list, all unless changed. For coded streams, and Format.bytes.",
        "_writer": None, "_pool": None, "_slot": None, "_start": None}

    def __init__(self, writer, pool, slot):
        self.timestamp = self.duration = self.flags = self.transform = 0
        self.crop = self.colour = self.answers = None
        self.metadata = b""
        self.format = pool.format
        self.used = pool.sizes.copy()
        start = self._start = pool.slots_at + slot * pool.slot_size
        memory = pool.bytes
        self.planes = tuple([memory[start + begin:start + end] for begin, end in pool.ranges])
        self._writer, self._pool, self._slot = writer, pool, slot

    def publish(self) -> Tuple[int, int, int, int]:
        """Gives the frame to the readers, and returns its id. From then on it must not be written.

        ValueError, TypeError: a field cannot be; it can be mended, and published then. ValueError: the channel is closed, or it was
        published before. Reformatted.
        """
        if self._writer is None:
            raise ValueError("the slot was published or dropped before")
        id = self._writer._publish(self)
        self._writer = None
        self._forget()
        return id

    def drop(self):
        """Gives the slot back unpublished. After publish() it does nothing."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer._drop(self)
            self._forget()

    def _forget(self):
        for plane in self.planes:
            try:
                plane.release()
            except BufferError:
                pass
        self.planes = ()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None and self._writer is not None:
                self.publish()
        finally:
            self.drop()

    def __del__(self):
        if self._writer is not None:
            self.drop()
