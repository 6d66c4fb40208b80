# SPDX-License-Identifier: Apache-2.0
"""Sockets with descriptors, and the messages of frames on them (docs/frames.md, section 6)."""

import array
import errno
import os
import signal
import socket
import struct

from ._fork import parents_only

HELLO, WELCOME, POOL, EVICTED, BYE, REFUSED, STATISTICS = range(1, 8)
RELEASED, CONNECT = 16, 17

_HEADER = struct.Struct("<IHBBQ")
_MAX = 4096


class Full(OSError):
    """The other side does not read its messages."""


class OtherVersion(OSError):
    """The other side speaks another version of the protocol."""


def close_all(fds):
    for fd in fds:
        os.close(fd)


def receive(sock, size, flags=0):
    """recvmsg, with descriptors that are close-on-exec."""
    room = socket.CMSG_SPACE(253 * 4) + 64
    data, ancillary, got, _ = sock.recvmsg(size, room, flags | socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[:len(content) - len(content) % 4])
    if got & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
        close_all(fds)
        raise OSError("descriptors or bytes of a message were lost")
    return data, list(fds)


def own_pidfd():
    """A pidfd of this process, to be sent: it tells of its end while a child that it forked has the connection, too."""
    try:
        return [os.pidfd_open(os.getpid())]
    except (AttributeError, OSError):
        return []


def living(fds):
    """Returns the pidfd that the other side has sent, or -1; what is none is closed, and not waited for."""
    for fd in fds:
        try:
            signal.pidfd_send_signal(fd, 0)
        except AttributeError:
            pass
        except OSError as e:
            if e.errno != errno.EBADF:
                return fd
        else:
            return fd
        os.close(fd)
    return -1


class Messages:
    """Messages on a socket, which it owns."""

    def __init__(self, sock):
        self.sock = sock
        parents_only(self)
        self.stream = sock.type & 0xF == socket.SOCK_STREAM
        self._data, self._fds = b"", []

    def fileno(self):
        return self.sock.fileno()

    def forked(self):
        self.sock.close()  # a child that keeps a copy of a connection would hide its parent's death

    def send(self, kind, payload=b"", fds=()):
        """Sends one message without waiting for room: who has not read the few messages that there are never will."""
        message = _HEADER.pack(_HEADER.size + len(payload), kind, len(fds), 1, 0) + payload
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            sent = self.sock.sendmsg([message], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            raise Full("the other side does not read its messages") from None
        if sent < len(message):
            raise Full("the other side does not read its messages")

    def receive(self, wait=True):
        """Returns (kind, payload, descriptors); None: nothing is there, if it is not to wait. EOFError: the other side is gone."""
        while True:
            need = _HEADER.size if self.stream else _MAX
            if self.stream and len(self._data) >= _HEADER.size:
                need = self._length()
            have = len(self._data)
            if have >= need or not self.stream and have:
                length = self._length()
                if not self.stream and length != have:
                    raise OSError("a message of %d bytes in a packet of %d" % (length, have))
                if have >= length:
                    return self._take(length)
                continue
            try:
                data, fds = receive(self.sock, need - have, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            except ConnectionError:
                raise EOFError("the connection was reset") from None
            self._fds += fds
            if not data:
                raise EOFError("the connection was closed")
            self._data += data

    def _length(self):
        if len(self._data) < _HEADER.size:
            raise OSError("a message of %d bytes" % len(self._data))
        length, _, fds, version, _ = _HEADER.unpack_from(self._data)
        if version != 1:
            raise OtherVersion("the other side speaks version %d of the protocol of frames" % version)
        if not _HEADER.size <= length <= _MAX or fds > 4:
            raise OSError("a message of %d bytes with %d descriptors" % (length, fds))
        return length

    def _take(self, length):
        _, kind, count, _, _ = _HEADER.unpack_from(self._data)
        payload, self._data = self._data[_HEADER.size:length], self._data[length:]
        if len(self._fds) < count:
            raise OSError("descriptors were lost")
        fds, self._fds = self._fds[:count], self._fds[count:]
        return kind, payload, fds

    def hang_up(self):
        """Ends the connection for both sides, whoever else has it. What came before is still received."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self):
        close_all(self._fds)
        self._fds = []
        self.hang_up()  # somebody may be reading it
        self.sock.close()
