# SPDX-License-Identifier: Apache-2.0
"""Sessions: having names, and asking for them (docs/session.md, sections 3 and 4)."""

import os
import secrets
import socket
import struct
import sys
import time
from collections import namedtuple
from typing import Iterator, Optional

from ._broker import SwitchboardError, reach
from ._protobuf import decode, encode, number, text
from ._socket import close_all, receive

_HEADER = struct.Struct("<BBBBIQ")
_REQUEST, _REPLY, _EVENT = 1, 2, 3
_HELLO, _LOOK_UP, _CLAIM, _RELEASE, _WATCH = 1, 2, 3, 4, 5
_CHANGE, _SYNCED, _OVERFLOW, _BYE = 65, 66, 67, 69

KINDS = {"any": 0, "service": 1, "port": 2, "network": 3, "channel": 4}
_KIND_NAMES = {n: name for name, n in KINDS.items()}
_STATES = {1: "active", 2: "starting", 3: "retiring", 4: "stopping"}
_CHANGES = {1: "appeared", 2: "changed", 3: "gone"}

Entry = namedtuple("Entry", "lease name namespace kind state pid uid executable version scope path since connections")
Event = namedtuple("Event", "kind entry reason")
Entry.__doc__ = """A name, and who has it: the process, its uid and its executable are what the kernel says.

kind: "service", "port", "network" or "channel". state: "active", "starting", "retiring" or "stopping". path: of its socket.
since: when it was claimed, in seconds since 1970. connections: open ones, as far as the broker knows.
"""
Event.__doc__ = """What happened: kind is "appeared", "changed", "gone", or "synced", which has no entry. reason: why it is gone."""


class Session:
    """A standing connection to the broker. For one thread."""

    def __init__(self, runtime_dir=None, timeout=10.0):
        self.dir = runtime_dir
        self._sock = reach("session.sock", socket.SOCK_SEQPACKET, runtime_dir, time.monotonic() + timeout)
        self._id = self._sequence = 0
        self.events = []
        program = os.path.basename(sys.argv[0] or "python") or "python"
        self.call(_HELLO, encode(f1=secrets.token_bytes(16), f2=program))

    def fileno(self):
        return self._sock.fileno()

    def call(self, op, payload, changes=False):
        """Makes a request; returns (fields of the reply, descriptors, id)."""
        self._id += 1
        sequence = 0
        if changes:
            self._sequence += 1
            sequence = self._sequence
        self._sock.send(_HEADER.pack(1, _REQUEST, op, 0, self._id, sequence) + payload)
        while True:
            kind, got, id, body, fds = self.receive()
            if kind == _REPLY and id == self._id:
                fields = decode(body)
                if number(fields, 1):
                    close_all(fds)
                    raise SwitchboardError(number(fields, 1), text(fields, 2))
                return fields, fds, id
            close_all(fds)
            self.events.append((got, id, body))

    def receive(self):
        data, fds = receive(self._sock, 65536)
        if len(data) < _HEADER.size:
            close_all(fds)
            raise ConnectionError("the broker has ended the session")
        _, kind, op, _, id, _ = _HEADER.unpack_from(data)
        if kind == _EVENT and op == _BYE:
            close_all(fds)
            fields = decode(data[_HEADER.size:])
            raise ConnectionError("the broker has ended the session: " + text(fields, 2))
        return kind, op, id, data[_HEADER.size:], fds

    def event(self):
        """Waits for the next event: (operation, id, body)."""
        while not self.events:
            kind, op, id, body, fds = self.receive()
            close_all(fds)
            if kind == _EVENT:
                self.events.append((op, id, body))
        return self.events.pop(0)

    def close(self):
        self._sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _entry(body):
    f = decode(body)
    return Entry(number(f, 1), text(f, 2), text(f, 3), _KIND_NAMES.get(number(f, 4), str(number(f, 4))),
                 _STATES.get(number(f, 5), "unknown"), number(f, 6), number(f, 7), text(f, 8), text(f, 9), text(f, 10), text(f, 11),
                 number(f, 12) / 1000, number(f, 13))


def look_up(name: str, *, kind: str = "any", version: str = "", scope: str = "", runtime_dir: Optional[str] = None) -> Entry:
    """Asks who has a name, without calling it. Returns an Entry; SwitchboardError with code 69: nobody has.

    kind: "any", "service", "port", "network" or "channel". version, scope: as in dial().
    """
    with Session(runtime_dir) as s:
        fields, _, _ = s.call(_LOOK_UP, encode(f1=name, f2=KINDS[kind], f3=version, f4=scope))
        return _entry(fields[3][-1])


class Watch:
    """What happens to the names of a pattern, for who waits for something else, too: its descriptor is readable when events() has some."""

    def __init__(self, pattern="*", *, kind="any", runtime_dir=None):
        self._session = Session(runtime_dir)
        try:
            _, _, self._id = self._session.call(_WATCH, encode(f1=pattern, f2=KINDS[kind]))
        except BaseException:
            self._session.close()
            raise

    def fileno(self):
        return self._session.fileno()

    @property
    def pending(self):
        """Whether events() has some although the descriptor is not readable."""
        return bool(self._session.events)

    def events(self):
        """Waits for the next message of the broker; returns a list of what it says. ConnectionError: the broker is gone."""
        op, id, body = self._session.event()
        if id != self._id:
            return []
        if op == _OVERFLOW:
            raise SwitchboardError(75, "events were lost: watch again")
        if op == _SYNCED:
            return [Event("synced", None, "")]
        result = []
        if op == _CHANGE:
            for changed in decode(body).get(1, []):
                f = decode(changed)
                result.append(Event(_CHANGES.get(number(f, 1), "unknown"), _entry(f[2][-1]), text(f, 3)))
        return result

    def close(self):
        self._session.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def watch(pattern: str = "*", *, kind: str = "any", runtime_dir: Optional[str] = None) -> Iterator[Event]:
    """Yields an Event for each name that there is, then one of kind "synced", then what happens, as long as the broker lives.

    pattern: a name; "com.example.*", everything below com.example; or "*", everything. kind: as in look_up(). ConnectionError: the broker has ended.
    SwitchboardError with code 75: events were lost, and the names are to be watched anew.
    """
    with Watch(pattern, kind=kind, runtime_dir=runtime_dir) as w:
        while True:
            yield from w.events()


def release(session, lease):
    """Gives a name back: when this returns, it is free, unless the broker is gone or does not answer."""
    try:
        session._sock.settimeout(2)
        session.call(_RELEASE, encode(f1=lease), True)
    except OSError:
        pass


def claim(name, *, kind="service", version="", scope="", runtime_dir=None):
    """Obtains a name with a socket that the broker bound for it. Returns (session, listening socket, lease)."""
    session = Session(runtime_dir)
    try:
        fields, fds, _ = session.call(_CLAIM, encode(f1=name, f2=KINDS[kind], f3=version, f4=scope, f5=1), True)
        sock = socket.socket(fileno=fds[0])
        close_all(fds[1:])
        sock.listen(1024)  # so that callers see this process as their peer, and not the broker
        return session, sock, number(fields, 3)
    except SwitchboardError as e:
        session.close()
        raise SwitchboardError(e.code, "cannot listen on %r: %s" % (name, e)) from None
    except BaseException:
        session.close()
        raise
