# SPDX-License-Identifier: Apache-2.0
"""Mach messages as packets on AF_UNIX SEQPACKET sockets, from the reference alone (sections 1 and 12); no code of the Go or the C side."""

import array
import fcntl
import os
import socket
import struct

MOVE_RECEIVE, MOVE_SEND, MOVE_SEND_ONCE, COPY_SEND, MAKE_SEND, MAKE_SEND_ONCE = range(16, 22)
PORT, MEMORY, PORTS = 0, 1, 2
COMPLEX = 0x80000000
NDR = bytes.fromhex("0000000001000000")
TYPE_CHECK, REPLY_MISMATCH, BAD_ID, BAD_ARGUMENTS, TOO_LARGE, DIED = -300, -301, -303, -304, -307, -308
PATIENCE = 30.0
SEALS = 1 | 2 | 4 | 8  # seal, shrink, grow, write


class Gone(Exception):
    """The other side is gone."""


class Refused(Exception):
    """A call was answered with a code."""

    def __init__(self, code):
        super().__init__(f"code {code}")
        self.code = code


def make_port():
    """A receive end and a send end."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Message:
    """A message in the making: header, table, body. What it carries stays the caller's."""

    def __init__(self, ident, remote=1, local=0, remote_right=COPY_SEND, local_right=0, reply=None):
        self.ident, self.remote, self.local = ident, remote, local
        self.bits = remote_right | local_right << 8
        self.fds = [] if reply is None else [reply]
        self.table, self.count, self.complex, self.body = b"", 0, False, b""

    def port(self, fd, disposition):
        """Adds a port: a descriptor, "null" or "dead"."""
        if fd == "null":
            name = 0
        elif fd == "dead":
            name = 0xFFFFFFFF
        else:
            self.fds.append(fd)
            name = len(self.fds)
        self.table += struct.pack("<IIHBB", name, 0, 0, disposition, PORT)
        self.count, self.complex = self.count + 1, True
        return self

    def memory(self, fd, size):
        """Adds out-of-line memory: a sealed memfd."""
        self.fds.append(fd)
        self.table += struct.pack("<QBBBBI", len(self.fds), 0, 1, 0, MEMORY, size)
        self.count, self.complex = self.count + 1, True
        return self

    def add(self, layout, *values):
        self.body += struct.pack("<" + layout, *values)
        return self

    def ndr(self):
        self.body += NDR
        return self

    def packet(self):
        rest = (struct.pack("<I", self.count) + self.table if self.complex else b"") + self.body
        bits = self.bits | (COMPLEX if self.complex else 0)
        return struct.pack("<IIIIIi", bits, 24 + len(rest), self.remote, self.local, 0, self.ident) + rest

    def send(self, to, flags=0):
        fds = [f if isinstance(f, int) else f.fileno() for f in self.fds]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        to.sendmsg([self.packet()], rights, flags)


class Received:
    """A message that came; its descriptors are closed with it, unless they are taken."""

    def __init__(self, data, fds):
        self.data, self.fds = data, fds
        self.bits, self.size, self.remote, self.local, self.reserved, self.ident = struct.unpack_from("<IIIIIi", data)
        self.complex = bool(self.bits & COMPLEX)

    def get(self, layout, at):
        values = struct.unpack_from("<" + layout, self.data, at)
        return values[0] if len(values) == 1 else values

    def kind(self, at):
        """Disposition and type of the descriptor at an offset."""
        return self.data[at + 10], self.data[at + 11]

    def take(self, at):
        """The descriptor that is named at an offset, or None."""
        return self.nth(self.get("I", at))

    def nth(self, name):
        if not 0 < name <= len(self.fds):
            return None
        fd, self.fds[name - 1] = self.fds[name - 1], None
        return fd

    def close(self):
        for fd in self.fds:
            if fd is not None:
                os.close(fd)
        self.fds = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def receive(port, flags=0):
    """Reads one message; Gone at the end, BlockingIOError if MSG_DONTWAIT finds none."""
    try:
        data, control, seen, _ = port.recvmsg(65536, socket.CMSG_SPACE(253 * 4), flags | socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError as e:
        raise Gone from e
    fds = []
    for level, kind, payload in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds += array.array("i", payload[: len(payload) // 4 * 4])
    bad = len(data) < 24 or seen & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or struct.unpack_from("<I", data, 4)[0] != len(data)
    if bad:
        for fd in fds:
            os.close(fd)
        raise Gone
    return Received(data, fds)


def awaited(port):
    """receive that gives up after a while."""
    port.settimeout(PATIENCE)
    try:
        return receive(port)
    finally:
        port.settimeout(None)


def make_memory(data):
    fd = os.memfd_create("out-of-line", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd


def read_memory(fd, size):
    """The bytes of memory that came, or None if it can change or has another size."""
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        return None
    if seals & (2 | 4 | 8) != 2 | 4 | 8 or os.fstat(fd).st_size != size:
        return None
    data = b""
    while len(data) < size:
        data += os.pread(fd, size - len(data), len(data))
    return data
