# SPDX-License-Identifier: Apache-2.0
"""The server of the subsystem that workshop.h describes: a stub for each routine, and the dispatch in the order of MIG's servers."""

import os
import select
import socket

import wire
from wire import Message, Refused
from workshop_user import ADD, DELIVERED, DIVIDE, DIVISION_BY_ZERO, FINISHED, MOST_NUMBERS, TOO_OFTEN

SEND = {wire.MOVE_SEND, wire.COPY_SEND, wire.MAKE_SEND}
ONCE = {wire.MOVE_SEND_ONCE, wire.MAKE_SEND_ONCE}
RECEIVE = {wire.MOVE_RECEIVE}


def fnv1a(data):
    h = 2166136261
    for b in data:
        h = (h ^ b) * 16777619 & 0xFFFFFFFF
    return h


def made(seed, size):
    return bytes((seed + i * 7 + i // 251) & 255 for i in range(size))


def wrap(value, bits):
    """The two's complement of a number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class Server:
    def __init__(self, port):
        self.port = port
        self.channels = []

    # Each stub reads its arguments and returns what follows the code, as layout and values; open_channel and pattern return a filler of the message.

    def add(self, m):
        a, b = m.get("ii", 32)
        return "i", (wrap(a + b, 32),)

    def greet(self, m):
        name, times = m.get("64sI", 32)
        if b"\0" not in name:
            raise Refused(wire.BAD_ARGUMENTS)
        if times > 3:
            raise Refused(TOO_OFTEN)
        return "256s", (b" ".join([b"Hello, " + name.split(b"\0")[0] + b"!"] * times),)

    def numbers(self, m):
        count = m.get("I", 32)
        return [m.get("q", 36 + 8 * i) for i in range(count)]

    def total(self, m):
        numbers = self.numbers(m)
        return "qq", (wrap(sum(numbers), 64), max(numbers, default=-1 << 63))

    def sorted(self, m):
        numbers = sorted(self.numbers(m))
        return f"I{len(numbers)}q", (len(numbers), *numbers)

    def open_channel(self, m):
        receive, send = wire.make_port()
        self.channels.append(receive)
        return lambda out: (out.port(send, wire.MAKE_SEND), send)[1]

    def deliver(self, m):
        count = m.get("I", 60)
        to, done = m.take(28), m.take(40)
        if to is None or done is None:
            for fd in (to, done):
                if fd is not None:
                    os.close(fd)
            raise Refused(17)
        with socket.socket(fileno=to) as to, socket.socket(fileno=done) as done:
            try:
                for i in range(count):
                    Message(DELIVERED).ndr().add("I", i).send(to)
                Message(FINISHED, remote_right=wire.MOVE_SEND_ONCE).ndr().add("I", count).send(done)
            except OSError:
                raise Refused(5) from None
        return "", ()

    def drain(self, m):
        most, fd = m.get("I", 48), m.take(28)
        if fd is None:
            raise Refused(17)
        count = total = 0
        with socket.socket(fileno=fd) as port:
            while count < most:
                try:
                    with wire.receive(port, socket.MSG_DONTWAIT) as one:
                        count, total = count + 1, total + one.get("I", 32)
                except (wire.Gone, BlockingIOError):
                    break
        return "II", (count, total & 0xFFFFFFFF)

    def checksum(self, m):
        size = m.get("I", 52)
        if size != m.get("I", 40):
            raise Refused(wire.TYPE_CHECK)
        fd = m.take(28)
        data = None if fd is None else wire.read_memory(fd, size)
        if fd is not None:
            os.close(fd)
        if data is None:
            raise Refused(4)
        return "I", (fnv1a(data),)

    def pattern(self, m):
        size, seed = m.get("II", 32)
        if size > 64 << 20:
            raise Refused(3)
        memory = wire.make_memory(made(seed, size))
        return lambda out: (out.memory(memory, size).ndr().add("I", size), memory)[1]

    def divide(self, m):
        a, b = m.get("qq", 32)
        if b == 0:
            raise Refused(DIVISION_BY_ZERO)
        q = abs(a) // abs(b)
        return "q", (wrap(q if (a < 0) == (b < 0) else -q, 64),)

    # Stub, exact size, whether an array follows, and the descriptors: memory, or the dispositions of a port.
    ROUTINES = (
        (add, 40, False, ()), (greet, 100, False, ()), (total, 36, True, ()), (sorted, 36, True, ()), (open_channel, 24, False, ()),
        (deliver, 64, False, (SEND, ONCE)), (drain, 52, False, (RECEIVE,)), (checksum, 56, False, ("memory",)), (pattern, 40, False, ()),
        (divide, 48, False, ()),
    )

    def check(self, m, size, is_array, ports):
        if is_array:
            count = m.get("I", 32) if len(m.data) >= size else MOST_NUMBERS + 1
            if count > MOST_NUMBERS:
                raise Refused(wire.BAD_ARGUMENTS)
            size += 8 * count
        if len(m.data) != size or m.complex != bool(ports) or ports and m.get("I", 24) != len(ports):
            raise Refused(wire.BAD_ARGUMENTS)
        for i, accepted in enumerate(ports):
            disposition, kind = m.kind(28 + 12 * i)
            if accepted == "memory" and kind == wire.MEMORY:
                continue
            if accepted == "memory" or kind != wire.PORT or disposition not in accepted:
                raise Refused(wire.TYPE_CHECK)

    def answer(self, m):
        """The reply to a message, and what must be closed when it has been sent."""
        out = Message(m.ident + 100, remote=m.local, remote_right=wire.MOVE_SEND_ONCE)
        if not ADD <= m.ident <= DIVIDE:
            return out.ndr().add("i", wire.BAD_ID), None
        stub, size, is_array, ports = self.ROUTINES[m.ident - ADD]
        try:
            self.check(m, size, is_array, ports)
            results = stub(self, m)
        except Refused as e:
            return out.ndr().add("i", e.code), None
        if callable(results):
            return out, results(out)
        return out.ndr().add("i", 0).add(results[0], *results[1]), None

    def one(self, port):
        with wire.receive(port) as m:
            reply = m.nth(1) if m.local else None
            out, extra = self.answer(m)
            if reply is not None:
                with socket.socket(fileno=reply) as to:
                    try:
                        out.send(to, socket.MSG_DONTWAIT)
                    except OSError:
                        pass  # a caller that has gone wants no reply
            if extra is not None:
                extra.close() if isinstance(extra, socket.socket) else os.close(extra)

    def serve(self, until=None):
        """Serves until nobody can send to the port any more, or the descriptor is readable."""
        while True:
            ports = [self.port, *self.channels]
            ready, _, _ = select.select(ports + ([until] if until is not None else []), [], [])
            if until in ready:
                return
            for port in ready:
                try:
                    self.one(port)
                except wire.Gone:
                    if port is self.port:
                        return
                    port.close()
                    self.channels.remove(port)
