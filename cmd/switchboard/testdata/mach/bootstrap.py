# SPDX-License-Identifier: Apache-2.0
"""Bootstrap calls in each dialect (sections 2 and 3)."""

import os
import socket
import struct

import wire
from wire import Message, Refused

NOT_PRIVILEGED, NAME_IN_USE, UNKNOWN_SERVICE, SERVICE_ACTIVE, BAD_COUNT, NO_MEMORY, NO_CHILDREN = range(1100, 1107)
DIALECTS = ("seed", "custom", "old", "new", "newest")
IDS = {"seed": (400, 401, 402, 404, 405), "custom": (None, 700, 701, None, None)}
CANONICAL = (402, 403, 404, 406, 409)


def field(name, dialect):
    """The arguments that are a name."""
    raw = name.encode()
    if dialect in ("seed", "custom"):
        return struct.pack("<I128s", len(raw), raw)
    return struct.pack("<128s", raw)


def ident(dialect, which):
    return IDS.get(dialect, CANONICAL)[which]


class Bootstrap:
    """A control connection: by a path, through a bootstrap port, or as the environment says, by its "path" or through its "port"."""

    def __init__(self, path=None, through=None):
        self.token = 0x7000
        if path == "port":
            through = socket.socket(fileno=os.dup(int(os.environ["SWITCHBOARD_BOOTSTRAP_FD"])))
        elif path is not None:
            path = os.environ["SWITCHBOARD_BOOTSTRAP"] if path == "path" else path
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.socket.connect(path)
            return
        self.socket, theirs = wire.make_port()
        with theirs:
            Message(710).port(theirs, wire.MOVE_SEND).send(through)

    def close(self):
        self.socket.close()

    def request(self, number):
        self.token += 1
        return Message(number, local=self.token, local_right=wire.MAKE_SEND_ONCE)

    def call(self, message, size, is_complex):
        """Sends, and returns the reply of that size; another code than 0 is raised."""
        message.send(self.socket)
        reply = wire.awaited(self.socket)
        assert reply.remote == message.local, f"token {reply.remote:#x}, not {message.local:#x}"
        assert reply.ident == message.ident + 100, f"id {reply.ident} in reply to {message.ident}"
        assert (reply.local, reply.reserved, reply.bits & ~wire.COMPLEX) == (0, 0, wire.MOVE_SEND_ONCE), reply.data[:24].hex()
        if len(reply.data) == 36 and not reply.complex:
            assert reply.data[24:32] == wire.NDR and not reply.fds
            code = reply.get("i", 32)
            if code != 0:
                raise Refused(code)
        assert (len(reply.data), reply.complex) == (size, is_complex), f"a reply of {len(reply.data)} bytes, not {size}"
        return reply

    def port(self, message, size, disposition):
        with self.call(message, size, True) as reply:
            assert reply.get("I", 24) == 1 and reply.kind(28) == (disposition, wire.PORT) and len(reply.fds) == 1, reply.data.hex()
            return socket.socket(fileno=reply.take(28)), reply

    def check_in(self, dialect, name, flags=0):
        """The receive right and, of newest, the instance."""
        m = self.request(ident(dialect, 0)).ndr()
        m.body += field(name, dialect)
        if dialect == "newest":
            m.add("Q", flags)
        port, reply = self.port(m, 64 if dialect == "newest" else 40, wire.MOVE_RECEIVE)
        return port, reply.data[48:64] if dialect == "newest" else None

    def register(self, dialect, name, port, flags=0):
        m = self.request(ident(dialect, 1)).port(port, wire.COPY_SEND).ndr()
        m.body += field(name, dialect)
        if dialect == "newest":
            m.add("Q", flags)
        self.call(m, 36, False)

    def look_up(self, dialect, name, pid=0, flags=0, instance=bytes(16)):
        m = self.request(ident(dialect, 2)).ndr()
        m.body += field(name, dialect)
        if dialect == "new":
            m.add("iQ", pid, flags)
        elif dialect == "newest":
            m.add("i16sQ", pid, instance, flags)
        return self.port(m, 40, wire.COPY_SEND)[0]

    def create_service(self, name):
        m = self.request(410).ndr()
        m.body += field(name, "old")
        return self.port(m, 40, wire.COPY_SEND)[0]

    def subset(self, dialect, requestor):
        return self.port(self.request(ident(dialect, 4)).port(requestor, wire.MAKE_SEND), 40, wire.MAKE_SEND)[0]

    def parent(self, dialect):
        return self.port(self.request(ident(dialect, 3)), 40, wire.MAKE_SEND)[0]

    def root(self):
        return self.port(self.request(436), 40, wire.MOVE_SEND)[0]

    def look_up_array(self, names):
        """The ports, None for those that are unknown, and whether all are known."""
        memory = wire.make_memory(b"".join(struct.pack("<128s", n.encode()) for n in names))
        m = self.request(405).memory(memory, 128 * len(names)).ndr().add("I", len(names))
        try:
            reply = self.call(m, 60, True)
        finally:
            os.close(memory)
        with reply:
            assert reply.get("I", 24) == 1 and reply.kind(28)[1] == wire.PORTS and reply.get("I", 40) == len(names)
            fd = reply.take(28)
            positions = struct.unpack(f"<{len(names)}I", wire.read_memory(fd, 4 * len(names)))
            os.close(fd)
            return [socket.socket(fileno=reply.nth(p)) if p else None for p in positions], bool(reply.get("I", 56))

    def info(self):
        """Names and states."""
        with self.call(self.request(408), 96, True) as reply:
            count = reply.get("I", 84)
            names, states = reply.take(28), reply.take(60)
            text, numbers = wire.read_memory(names, 128 * count), struct.unpack(f"<{count}I", wire.read_memory(states, 4 * count))
            os.close(names)
            os.close(states)
            return {text[128 * i:128 * i + 128].split(b"\0")[0].decode(): numbers[i] for i in range(count)}


def code_of(call, *args, **more):
    """The code with which a call is refused; 0 if it isn't, and what it returned is closed."""
    try:
        got = call(*args, **more)
    except Refused as e:
        return e.code
    for one in got if isinstance(got, tuple) else (got,):
        if isinstance(one, socket.socket):
            one.close()
    return 0
