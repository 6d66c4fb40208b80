# SPDX-License-Identifier: Apache-2.0
"""Frames: those that a reader holds, and those that a writer fills."""


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


class _Picture:
    """What frames and loans have in common: planes, and arrays of them."""

    __slots__ = ()

    @property
    def arrays(self):
        """A numpy array of each plane, without a copy."""
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
        """A numpy array of the only plane, without a copy. Formats with several have arrays."""
        arrays = self.arrays
        if len(arrays) != 1:
            raise ValueError("%s has %d planes: use arrays" % (self.format.name, len(arrays)))
        return arrays[0]

    def __dlpack__(self, *, stream=None, max_version=None, **_):
        from ._dlpack import export

        return export(self, max_version)

    def __dlpack_device__(self):
        return 1, 0  # the CPU


class Frame(_Picture):
    """One frame that a reader holds: its planes are the writer's memory, which does not change until release().

    It releases itself when nothing refers to it any more, nor to a plane or an array of it.
    """

    __slots__ = ("sequence", "epoch", "slot", "generation", "flags", "timestamp", "published", "duration", "crop", "transform",
                 "answers", "colour", "metadata", "missed", "format", "planes", "channel", "_hold")
    _start = 0  # where the slot begins in what the planes are of

    @property
    def id(self):
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
    """A slot that the writer has got, to be filled and published: with a `with`, at its end, unless an exception leaves it."""

    __slots__ = ("timestamp", "duration", "flags", "crop", "transform", "colour", "answers", "metadata", "planes", "used", "format",
                 "_writer", "_pool", "_slot", "_start")

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

    def publish(self):
        """Gives the frame to the readers, and returns its id. From then on it must not be written."""
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
