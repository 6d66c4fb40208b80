# SPDX-License-Identifier: Apache-2.0
"""The client's stubs of the subsystem that workshop.h describes. A code other than 0 is raised as wire.Refused."""

import os
import socket

import wire
from wire import Message, Refused

ADD, GREET, TOTAL, SORTED, OPEN_CHANNEL, DELIVER, DRAIN, CHECKSUM, PATTERN, DIVIDE = range(7100, 7110)
DELIVERED, FINISHED, NUMBERED = 7190, 7191, 7199
DIVISION_BY_ZERO, TOO_OFTEN = 5000, 5001
MOST_NUMBERS = 512
TOKEN = 0x3003


class Call:
    """A request, with the end of a fresh pair as its reply right."""

    def __init__(self, ident):
        self.ours, self.theirs = wire.make_port()
        self.m = Message(ident, local=TOKEN, local_right=wire.MAKE_SEND_ONCE, reply=self.theirs)

    def end(self, port, size, is_complex=False, array=False):
        """Sends, and returns the reply."""
        with self.ours:
            try:
                with self.theirs:
                    self.m.send(port)
                reply = wire.awaited(self.ours)
            except (wire.Gone, BrokenPipeError, ConnectionResetError):
                raise Refused(wire.DIED) from None
        n = len(reply.data)
        if reply.ident == 71:
            raise Refused(wire.DIED)
        if reply.ident != self.m.ident + 100 or reply.remote != TOKEN:
            reply.close()
            raise Refused(wire.REPLY_MISMATCH)
        if n == 36 and not reply.complex and reply.get("i", 32) != 0:
            raise Refused(reply.get("i", 32))
        if reply.complex != is_complex or n < size or n > size and not array:
            reply.close()
            raise Refused(wire.TYPE_CHECK)
        if not is_complex and reply.get("i", 32) != 0:
            raise Refused(reply.get("i", 32))
        return reply


def add(port, a, b):
    c = Call(ADD)
    c.m.ndr().add("ii", a, b)
    return c.end(port, 40).get("i", 36)


def greet(port, name, times):
    c = Call(GREET)
    c.m.ndr().add("64sI", name.encode(), times)
    return c.end(port, 292).data[36:].split(b"\0")[0].decode()


def total(port, numbers):
    if len(numbers) > MOST_NUMBERS:
        raise Refused(wire.TOO_LARGE)
    c = Call(TOTAL)
    c.m.ndr().add(f"I{len(numbers)}q", len(numbers), *numbers)
    return c.end(port, 52).get("qq", 36)


def ordered(port, numbers):
    if len(numbers) > MOST_NUMBERS:
        raise Refused(wire.TOO_LARGE)
    c = Call(SORTED)
    c.m.ndr().add(f"I{len(numbers)}q", len(numbers), *numbers)
    reply = c.end(port, 40, array=True)
    count = reply.get("I", 36)
    if len(reply.data) != 40 + 8 * count:
        raise Refused(wire.TYPE_CHECK)
    return [reply.get("q", 40 + 8 * i) for i in range(count)]


def open_channel(port):
    with Call(OPEN_CHANNEL).end(port, 40, is_complex=True) as reply:
        if reply.get("I", 24) != 1 or reply.kind(28) != (wire.MAKE_SEND, wire.PORT) or len(reply.fds) != 1:
            raise Refused(wire.TYPE_CHECK)
        return socket.socket(fileno=reply.take(28))


def deliver(port, to, done, count):
    c = Call(DELIVER)
    c.m.port(to, wire.COPY_SEND).port(done, wire.MAKE_SEND_ONCE).ndr().add("I", count)
    c.end(port, 36)


def drain(port, receive, most):
    """Gives the receive right away; count and sum of what was read."""
    c = Call(DRAIN)
    c.m.port(receive, wire.MOVE_RECEIVE).ndr().add("I", most)
    with receive:
        return c.end(port, 44).get("II", 36)


def checksum(port, data):
    memory = wire.make_memory(data)
    try:
        c = Call(CHECKSUM)
        c.m.memory(memory, len(data)).ndr().add("I", len(data))
        return c.end(port, 40).get("I", 36)
    finally:
        os.close(memory)


def pattern(port, size, seed):
    c = Call(PATTERN)
    c.m.ndr().add("II", size, seed)
    with c.end(port, 56, is_complex=True) as reply:
        if reply.get("I", 24) != 1 or reply.kind(28)[1] != wire.MEMORY or (reply.get("I", 40), reply.get("I", 52)) != (size, size):
            raise Refused(wire.TYPE_CHECK)
        fd = reply.take(28)
        data = wire.read_memory(fd, size)
        os.close(fd)
    if data is None:
        raise Refused(wire.TYPE_CHECK)
    return data


def divide(port, a, b):
    c = Call(DIVIDE)
    c.m.ndr().add("qq", a, b)
    return c.end(port, 44).get("q", 36)
