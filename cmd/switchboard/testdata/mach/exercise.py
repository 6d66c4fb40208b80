# SPDX-License-Identifier: Apache-2.0
"""All ten routines of the workshop, called through the client's stubs, with what must come of them."""

import os

import wire
import workshop_user as user
from bootstrap import code_of
from workshop_server import fnv1a, made


class Checks:
    """Counts what was looked at, and stops at the first thing that is wrong."""

    def __init__(self):
        self.count = 0

    def same(self, what, got, want):
        assert got == want, f"{what}: {got!r}, not {want!r}"
        self.count += 1


def odd(port, ident, more, *ports):
    """The code of a request that no stub would make."""
    c = user.Call(ident)
    for fd, disposition in ports:
        c.m.port(fd, disposition)
    c.m.body += bytes(more)
    return code_of(lambda: c.end(port, 36))


def exercise(port, checks):
    same = checks.same
    same("add", user.add(port, 40, 2), 42)
    same("add", user.add(port, -(1 << 31), -1), (1 << 31) - 1)
    same("greet", user.greet(port, "wörld", 3), " ".join(["Hello, wörld!"] * 3))
    same("greet 4 times", code_of(user.greet, port, "x", 4), user.TOO_OFTEN)
    same("greet without a NUL", code_of(user.greet, port, "x" * 64, 1), wire.BAD_ARGUMENTS)
    same("divide", user.divide(port, -7, 2), -3)
    same("divide by 0", code_of(user.divide, port, 1, 0), user.DIVISION_BY_ZERO)
    for ident, more, want in ((7110, 0, wire.BAD_ID), (7099, 0, wire.BAD_ID), (user.ADD, 12, wire.BAD_ARGUMENTS), (user.ADD, 20, wire.BAD_ARGUMENTS)):
        same(f"routine {ident} with {more} bytes", odd(port, ident, more), want)

    numbers = [(i * 2654435761) % 1000 - 500 for i in range(513)]
    same("total", user.total(port, numbers[:512]), (sum(numbers[:512]), max(numbers[:512])))
    same("total of nothing", user.total(port, []), (0, -1 << 63))
    same("sorted", user.ordered(port, numbers[:512]), sorted(numbers[:512]))
    same("sorted of nothing", user.ordered(port, []), [])
    same("an array too large", code_of(user.total, port, numbers), wire.TOO_LARGE)
    same("a count without numbers", odd(port, user.TOTAL, wire.NDR + b"\1\0\0\0"), wire.BAD_ARGUMENTS)

    with user.open_channel(port) as channel:
        same("add on the channel", user.add(channel, 1, 2), 3)

    events, to = wire.make_port()
    finished, done = wire.make_port()
    with events, finished:
        with to, done:
            user.deliver(port, to, done, 100)
        for i in range(100):
            m = wire.awaited(events)
            same("what is delivered", (m.ident, m.get("I", 32)), (user.DELIVERED, i))
        same("the end of it", ended(events), True)
        m = wire.awaited(finished)
        same("finished", (m.ident, m.get("I", 32)), (user.FINISHED, 100))
        same("the end of a reply right", ended(finished), True)

    receive, send = wire.make_port()
    with send:
        for i in range(1, 21):
            wire.Message(user.NUMBERED).ndr().add("I", i).send(send)
        same("drain", user.drain(port, receive, 15), (15, 120))
        same("the receive right has gone", ended(send), True)
    receive, send = wire.make_port()
    with receive, send:
        same("a send right for a receive right", odd(port, user.DRAIN, wire.NDR + bytes(4), (receive, wire.COPY_SEND)), wire.TYPE_CHECK)
        same("a null port", odd(port, user.DELIVER, wire.NDR + bytes(4), ("null", wire.COPY_SEND), (send, wire.MAKE_SEND_ONCE)), 17)

    for size in (0, 1, 4095, 4096, 4097, 70000):
        data = user.pattern(port, size, 77)
        same(f"pattern of {size}", data == made(77, size), True)
        same(f"checksum of {size}", user.checksum(port, data), fnv1a(data))
    memory = os.memfd_create("unsealed")
    os.ftruncate(memory, 100)
    c = user.Call(user.CHECKSUM)
    c.m.memory(memory, 100).ndr().add("I", 100)
    same("unsealed memory", code_of(lambda: c.end(port, 36)), 4)
    os.close(memory)
    same("add, after all that", user.add(port, 1, 1), 2)


def ended(port):
    try:
        with wire.awaited(port):
            return False
    except wire.Gone:
        return True
