# SPDX-License-Identifier: Apache-2.0
"""XPC messages on SOCK_SEQPACKET ports, made by hand: nothing here is shared with the Go side."""

import array
import os
import socket
import struct

MESSAGE, REPLY, HANDSHAKE = 0x10000000, 0x20000000, 0x77303074
CURRENT, OLD = b"CPX@", b"!CPX"
COMPLEX = 0x80000000

NULL, BOOL, INT64, UINT64, DOUBLE, DATE = 0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x7000
DATA, STRING, UUID, FD = 0x8000, 0x9000, 0xA000, 0xB000
ARRAY, DICTIONARY = 0xE000, 0xF000
FIXED = {INT64: "<q", UINT64: "<Q", DOUBLE: "<d", DATE: "<q", BOOL: "<I"}


class Gone(Exception):
    """The other side has hung up."""


def pad(b):
    return b + b"\0" * (-len(b) % 4)


def encode(value, fds):
    """The bytes of a value. Files are (FD, descriptor), and come out in fds."""
    if value is None:
        return struct.pack("<I", NULL)
    if isinstance(value, bool):
        return struct.pack("<II", BOOL, value)
    if isinstance(value, str):
        raw = value.encode() + b"\0"
        return struct.pack("<II", STRING, len(raw)) + pad(raw)
    if isinstance(value, bytes):
        return struct.pack("<II", DATA, len(value)) + pad(value)
    if isinstance(value, list):
        body = struct.pack("<I", len(value)) + b"".join(encode(v, fds) for v in value)
        return struct.pack("<II", ARRAY, len(body)) + body
    if isinstance(value, dict):
        body = struct.pack("<I", len(value))
        for key, v in value.items():
            body += pad(key.encode() + b"\0") + encode(v, fds)
        return struct.pack("<II", DICTIONARY, len(body)) + body
    kind, v = value
    if kind == FD:
        fds.append(v)
        return struct.pack("<I", FD)
    return struct.pack("<I", kind) + struct.pack(FIXED[kind], v)


class Reader:
    """Reads a payload of a well-behaved sender. Each value comes as (type, value)."""

    def __init__(self, data, fds):
        self.data, self.at, self.fds = data, 0, fds

    def number(self, layout="<I"):
        n = struct.unpack_from(layout, self.data, self.at)[0]
        self.at += struct.calcsize(layout)
        return n

    def padded(self, n):
        raw = self.data[self.at : self.at + n]
        assert len(raw) == n, "it ends too early"
        self.at += n + -n % 4
        return raw

    def key(self):
        end = self.data.index(b"\0", self.at)
        return self.padded(end + 1 - self.at)[:-1].decode()

    def value(self):
        kind = self.number()
        if kind == NULL:
            return kind, None
        if kind in FIXED:
            return kind, self.number(FIXED[kind])
        if kind == STRING:
            raw = self.padded(self.number())
            assert raw[-1:] == b"\0" and b"\0" not in raw[:-1], "no string"
            return kind, raw[:-1].decode()
        if kind == DATA:
            return kind, self.padded(self.number())
        if kind == FD:
            return kind, self.fds.pop(0)
        assert kind in (ARRAY, DICTIONARY), "type %#x" % kind
        length = self.number()
        end = self.at + length
        count = self.number()
        if kind == ARRAY:
            inside = [self.value() for _ in range(count)]
        else:
            inside = {}
            for _ in range(count):
                key = self.key()
                assert key not in inside, "a key twice"
                inside[key] = self.value()
        assert self.at == end, "a container does not end where it says"
        return kind, inside


def packet(ident, remote, local, payload, rights=()):
    """A message: rights are (disposition, descriptor)."""
    table, bits = b"", 19 | (21 << 8 if local else 0)
    if rights:
        bits |= COMPLEX
        table = struct.pack("<I", len(rights))
        for i, (disposition, _) in enumerate(rights):
            table += struct.pack("<IIHBB", i + 1, 0, 0, disposition, 0)
    size = 24 + len(table) + len(payload)
    return struct.pack("<IIIIII", bits, size, remote, local, 0, ident) + table + payload


def send(to, data, fds=()):
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        to.sendmsg([data], control)
    except (BrokenPipeError, ConnectionResetError) as e:
        raise Gone from e


def receive(port, seconds=60):
    """One packet and its descriptors."""
    port.settimeout(seconds)
    try:
        data, control, flags, _ = port.recvmsg(1 << 17, socket.CMSG_SPACE(253 * 4), socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError as e:
        raise Gone from e
    fds = array.array("i")
    for level, kind, payload in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(payload[: len(payload) // 4 * 4])
    assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC), "it was cut"
    if not data:
        raise Gone
    assert len(data) >= 24 and struct.unpack_from("<I", data, 4)[0] == len(data), "no message"
    return data, list(fds)


def pair():
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def look_up(path, name, token=7):
    """Asks the bootstrap server for a name: the port as a socket, or a code."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.connect(path)
        field = name.encode().ljust(128, b"\0")
        ndr = bytes((0, 0, 0, 0, 1, 0, 0, 0))
        send(s, struct.pack("<IIIIIi", 0x1513, 160, 1, token, 0, 404) + ndr + field)
        data, fds = receive(s)
    bits, _, remote, _, _, ident = struct.unpack_from("<IIIIIi", data)
    assert remote == token and ident == 504, "another's reply"
    if not bits & COMPLEX:
        return struct.unpack_from("<i", data, 32)[0]
    assert len(fds) == 1 and len(data) == 40
    return socket.socket(fileno=fds[0])


class Connection:
    """A connection of two pairs to the service behind a port."""

    def __init__(self, port):
        theirs, self.out = pair()
        self.inward, back = pair()
        data = packet(HANDSHAKE, 1, 0, b"", [(16, theirs), (20, back)])
        assert len(data) == 52
        send(port, data, [theirs.fileno(), back.fileno()])
        theirs.close()
        back.close()
        self.token = 100

    def close(self):
        self.out.close()
        self.inward.close()

    def request(self, root, magic=CURRENT, local=None):
        """Sends a dictionary; the token of the reply that it wants comes back."""
        self.token += 1
        local = self.token if local is None else local
        fds = []
        payload = magic + struct.pack("<I", 5) + encode(root, fds)
        rights = [(17, fd) for fd in fds]
        send(self.out, packet(MESSAGE, 1, local, payload, rights), fds)
        return local

    def reply(self, token, magic=CURRENT):
        data, fds = receive(self.inward)
        bits, _, remote, local, _, ident = struct.unpack_from("<IIIIII", data)
        assert (ident, remote, local) == (REPLY, token, 0), "reply %#x to %d" % (ident, remote)
        at = 24
        if bits & COMPLEX:
            count = struct.unpack_from("<I", data, 24)[0]
            assert count == len(fds), "%d descriptors for %d rights" % (len(fds), count)
            for i in range(count):
                name, _, _, disposition, kind = struct.unpack_from("<IIHBB", data, 28 + 12 * i)
                assert (name, disposition, kind) == (i + 1, 17, 0), "a right of another kind"
            at = 28 + 12 * count
        assert data[at : at + 4] == magic and struct.unpack_from("<I", data, at + 4)[0] == 5, "no payload of XPC"
        reader = Reader(data[at + 8 :], list(fds))
        kind, root = reader.value()
        assert kind == DICTIONARY and reader.at == len(reader.data) and not reader.fds
        return root

    def call(self, root, **more):
        return self.reply(self.request(root), **more)

    def raw(self, data, fds=()):
        send(self.out, data, fds)

    def gone(self, seconds=60):
        """Whether the service hangs up."""
        try:
            receive(self.inward, seconds)
        except Gone:
            return True
        return False


def inode(fd):
    return os.fstat(fd).st_ino
