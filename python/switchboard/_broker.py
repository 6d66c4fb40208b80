# SPDX-License-Identifier: Apache-2.0
"""Reaching the broker, and calling a name (docs/session.md, sections 1, 2 and 6)."""

import os
import shutil
import socket
import struct
import subprocess
import time
from typing import Optional

_HEADER = struct.Struct("<BBBBIQ")
_ONE_WAY, _CONNECT = 4, 33


class SwitchboardError(OSError):
    """What the broker, or a service, refuses. code: 64 usage, 69 unavailable, 75 try again, 77 not allowed."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def runtime_dir() -> str:
    """The folder of the broker's sockets."""
    for name, below in (("SWITCHBOARD_RUNTIME_DIR", ""), ("XDG_RUNTIME_DIR", "switchboard")):
        if os.environ.get(name):
            return os.path.join(os.path.abspath(os.environ[name]), below).rstrip("/")
    uid = os.getuid()
    user = "/run/user/%d" % uid
    try:
        if os.stat(user).st_uid == uid:
            return user + "/switchboard"
    except OSError:
        pass
    return "/run/switchboard" if uid == 0 else "/tmp/switchboard-%d" % uid


def _connect(path, kind):
    """Connects to a path, however long it is."""
    sock = socket.socket(socket.AF_UNIX, kind)
    folder = -1
    try:
        if len(os.fsencode(path)) > 107:
            folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
            path = "/proc/self/fd/%d/%s" % (folder, os.path.basename(path))
        sock.connect(path)
        return sock
    except BaseException:
        sock.close()
        raise
    finally:
        if folder >= 0:
            os.close(folder)


def _through_door(number, kind):
    """Makes a connection through an inherited door: a pair, of which the broker gets one end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    door = socket.socket(fileno=os.dup(int(number)))
    try:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", theirs.fileno()))]
        door.sendmsg([_HEADER.pack(1, _ONE_WAY, _CONNECT, 1, 0, 0)], rights)
    except OSError as e:
        ours.close()
        raise SwitchboardError(69, "the door that this program was given (SWITCHBOARD_SESSION_FD) is closed: %s" % e) from None
    finally:
        door.close()
        theirs.close()
    return ours


def reach(name, kind, dir, deadline):
    """Connects to a socket of the broker, which is started if it does not run."""
    if dir is None and os.environ.get("SWITCHBOARD_SESSION_FD"):
        return _through_door(os.environ["SWITCHBOARD_SESSION_FD"], kind)
    dir, started = os.path.abspath(dir or runtime_dir()), False
    while True:
        try:
            return _connect(os.path.join(dir, name), kind)
        except (FileNotFoundError, ConnectionRefusedError):
            if not started:
                started = True
                _start(dir)
                continue
            if time.monotonic() > deadline:
                raise SwitchboardError(75, "no broker answers in %s" % dir) from None
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SwitchboardError(75, "the broker in %s is busy" % dir) from None
        time.sleep(0.01)


def _start(dir):
    """Has the program start a broker, as any of its commands does."""
    program = os.environ.get("SWITCHBOARD") or shutil.which("switchboard")
    if os.environ.get("SWITCHBOARD_AUTOSTART") == "0" or not program:
        raise SwitchboardError(69, "no broker runs in %s, and %s" % (
            dir, "none is to be started (SWITCHBOARD_AUTOSTART=0)" if program else "the program switchboard is not on PATH to start one"))
    done = subprocess.run([program, "--runtime-dir", dir, "ls", "com.example.none"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise SwitchboardError(done.returncode, "cannot start a broker: " + done.stderr.decode("utf-8", "replace").strip())


def dial(name: str, *, version: Optional[str] = None, scope: Optional[str] = None, timeout: float = 10.0,
         runtime_dir: Optional[str] = None) -> socket.socket:
    """Calls a name. Returns a connected Unix stream socket, whose other end is the program that has the name.

    version: which versions will do, such as "^1.2". scope: the folder that it is to serve. timeout: in seconds, of all of it.
    runtime_dir: the folder of the broker's sockets, if it is not that of runtime_dir().

    SwitchboardError, by its code: 64 it is no name, 69 nobody has it, 75 nobody answers in time, 77 this user may not call it.
    """
    line = "DIAL " + name
    if version:
        line += " version=" + version
    if scope:
        line += " scope=" + "".join("%%%02x" % ord(c) if c <= " " or c in "%\x7f" else c for c in os.path.abspath(scope))
    line = (line + "\n").encode()
    if len(line) > 512 or not name or any(c <= " " for c in name):
        raise SwitchboardError(64, "cannot dial %r: it is no name" % name)
    deadline = time.monotonic() + timeout
    while True:
        sock = reach("broker.sock", socket.SOCK_STREAM, runtime_dir, deadline)
        try:
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                sock.sendall(line)
            except BrokenPipeError:
                pass  # a verdict may have come before
            verdict = _verdict(sock)
            if verdict == "OK":
                sock.settimeout(None)
                return sock
        except socket.timeout:
            sock.close()
            raise SwitchboardError(75, "cannot dial %r: no answer in time" % name) from None
        except ConnectionResetError:
            verdict = ""
        except BaseException:
            sock.close()
            raise
        sock.close()
        word, _, rest = verdict.partition(" ")
        if word == "ERR":
            code, _, why = rest.partition(" ")
            raise SwitchboardError(int(code), "cannot dial %r: %s" % (name, why.replace(" | ", "\n")))
        if word == "AT":
            try:
                return _connect(rest, socket.SOCK_STREAM)
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                pass  # its owner may just have gone: the broker says so in a moment
        if time.monotonic() > deadline:
            raise SwitchboardError(75, "cannot dial %r: nobody answers" % name)
        time.sleep(0.01)


def _verdict(sock):
    """Reads one line and not a byte more; "" if the broker went away."""
    line = b""
    while not line.endswith(b"\n") and len(line) < 4096:
        seen = sock.recv(4096, socket.MSG_PEEK)
        end = seen.find(b"\n")
        taken = sock.recv(len(seen) if end < 0 else end + 1)
        if not taken:
            return ""
        line += taken
    return line[:-1].decode("utf-8", "replace")
