# SPDX-License-Identifier: Apache-2.0
"""What the tests of package frames run: the Python side of a channel, which may kill itself at a step of the protocol."""

import faulthandler
import os
import signal
import socket
import subprocess
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import switchboard
from switchboard import frames


def kill_at(point, nth):
    left = int(nth)

    def at(here):
        nonlocal left
        if here == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()

    return at


def inherited(fd=3):
    return socket.socket(fileno=int(fd))


def checksum(frame):
    crc = 0
    for plane in frame.planes:
        crc = zlib.crc32(plane, crc)
    return crc.to_bytes(4, "little")


def fill(loan, n):
    for i, plane in enumerate(loan.planes):
        pattern = bytes((n * 31 + j * 7 + i) & 0xFF for j in range(251))
        plane[:] = (pattern * (len(plane) // 251 + 1))[:len(plane)]
    loan.metadata = checksum(loan)


def reader(point, nth, mode, wake):
    """Reads until the end, and prints what it saw."""
    try:
        read(point, nth, mode, wake)
    except frames.Evicted:
        sys.exit(3)


def read(point, nth, mode, wake):
    seen = None
    with frames.Reader(inherited(), mode, last=True, wake=wake, deadline=20, _fault=kill_at(point, nth)) as r:
        for frame in r:
            with frame:
                if frame.metadata != checksum(frame):
                    sys.exit("frame %d has another checksum" % frame.sequence)
                seen = frame.sequence if seen is None else seen + 1 + frame.missed
                if frame.sequence != seen:
                    sys.exit("frame %d after %d" % (frame.sequence, seen - 1))
    print("saw", seen)


def writer(point, nth, count="0"):
    """Publishes until it is killed, or so many, and then waits for the reader to go."""
    w = frames.Writer(frames.Format("NV12", 33, 17), slots=3, _fault=kill_at(point, nth))
    w.serve(inherited())
    n = 0
    while not int(count) or n < int(count):
        with w.loan() as loan:
            fill(loan, n)
        n += 1
        if n % 16 == 0:
            w.reformat(frames.Format(dtype="float32", shape=(3, n % 5 + 1, 7)) if n % 32 else frames.Format("NV12", 33, 17))
    sys.stdin.read()
    w.close()


def left():
    """A process that keeps what this one has open, and ends with its stdin."""
    for fd in os.listdir("/proc/self/fd"):
        try:
            os.set_inheritable(int(fd), True)
        except OSError:
            pass  # of the listing
    return subprocess.Popen(["cat"], close_fds=False, stdout=subprocess.DEVNULL)


def forks(what, fd="3"):
    """Holds a frame, or publishes one, forks a process that keeps all connections, and is killed."""
    if what == "reader":
        r = frames.Reader(inherited(fd), "every", last=True)
        frame = r.next(20)
    else:
        w = frames.Writer(frames.Format("NV12", 33, 17), slots=3)
        with w.loan() as frame:
            fill(frame, 1)
        w.serve(inherited(fd))
        while not w.stats()["readers"]:
            time.sleep(0.001)
    left()
    print("forked", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def filter_(crash="0"):
    """Inverts each frame of the parent and sends it back."""
    link = switchboard.parent()
    n = 0
    with link.open("in", lossless=True, last=True) as source:
        with link.create("out", source.format) as out:
            for frame in source:
                with frame, out.loan() as answer:
                    answer.planes[0][:] = bytes(frame.planes[0]).translate(bytes(255 - i for i in range(256)))
                    answer.answers, answer.timestamp, answer.metadata = frame.id, frame.timestamp, frame.metadata
                n += 1
                if n == int(crash):
                    os._exit(3)
            sys.stdin.read()


if __name__ == "__main__":
    faulthandler.enable()  # who waits too long for it sends SIGABRT, and reads where each thread is
    {"reader": reader, "writer": writer, "filter": filter_, "forks": forks}[sys.argv[1]](*sys.argv[2:])
