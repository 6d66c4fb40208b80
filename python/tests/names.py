# SPDX-License-Identifier: Apache-2.0
"""What the tests of package frames run with a broker: names, and channels by name, all in Python."""

import asyncio
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import switchboard
from switchboard import frames


def refused(code, f, *args):
    try:
        f(*args)
    except switchboard.SwitchboardError as e:
        assert e.code == code, e
    else:
        raise AssertionError("it was not refused")


def names():
    refused(69, switchboard.dial, "com.example.none")
    refused(69, switchboard.look_up, "com.example.none")
    refused(64, switchboard.dial, "a name")
    events = switchboard.watch("com.example.*")
    assert next(events).kind == "synced"
    listener = switchboard.listen("com.example.up", version="1.4.0")
    event = next(events)
    assert (event.kind, event.entry.name, event.entry.pid) == ("appeared", "com.example.up", os.getpid()), event
    entry = switchboard.look_up("com.example.up")
    assert (entry.kind, entry.version, entry.state) == ("service", "1.4.0", "active"), entry
    refused(75, switchboard.listen, "com.example.up")

    def serve():
        for caller in listener:
            with caller:
                said = caller.recv(100)
                if said:  # else somebody only looked whether anybody listens
                    caller.sendall(said.upper())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    for _ in range(3):
        with switchboard.dial("com.example.up", version="^1.2") as sock:
            sock.sendall(b"hello")
            assert sock.recv(100) == b"HELLO"
    refused(69, lambda: switchboard.dial("com.example.up", version="^2"))
    listener.close()
    switchboard.listen("com.example.up").close()  # a name that was given back is free at once
    thread.join()
    assert next(events).kind == "gone"


def channels():
    with frames.create("com.example.camera", frames.Format("GRAY8", 64, 4), slots=4) as w:
        assert switchboard.look_up("com.example.camera", kind="channel").pid == os.getpid()
        with frames.open("com.example.camera", every=True) as r:
            for n in range(20):
                with w.loan() as f:
                    f.planes[0][:] = bytes([n]) * 256
                with r.next(10) as f:
                    assert f.planes[0][255] == n
    # The next writer of the name.
    r = frames.open("com.example.again", rejoin=True, last=True) if later(1) else None
    for value in (1, 2, 3):
        f = r.next(10)
        assert f.planes[0][0] == value and bool(f.flags & frames.DISCONTINUITY) == (value > 1), f
        writers.pop().close()
        later(value + 1)
    r.close()
    threads[-1].join()
    writers.pop().close()


def waiting():
    """Who waits for a writer waits for the broker's word, can give up, and can be ended."""
    def value(r):
        with r.next(10) as f:
            return f.planes[0][0]

    for wake in ("event", "futex"):
        later(1)
        with frames.open("com.example.again", rejoin=True, last=True, wake=wake) as r:
            assert value(r) == 1
            writers.pop().close()
            for seconds in (0, 0.5):
                before = voluntary()
                try:
                    r.next(seconds)
                except TimeoutError:
                    pass
                else:
                    raise AssertionError("there is no writer")
            assert voluntary() - before < 30, "it asks again and again"
            later(2)
            assert value(r) == 2
            writers.pop().close()
            threading.Timer(0.05, r.close).start()
            try:
                r.next()
            except ValueError:
                pass
            else:
                raise AssertionError("it is closed")
    asyncio.run(in_a_loop())


def voluntary():
    """How often this thread has waited for something."""
    with open("/proc/thread-self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("voluntary"))


async def in_a_loop():
    later(1)
    r = await asyncio.get_running_loop().run_in_executor(None, lambda: frames.open("com.example.again", rejoin=True, last=True))
    with r:
        with await r.__anext__() as f:
            assert f.planes[0][0] == 1
        writers.pop().close()
        for _ in range(2):
            try:
                await asyncio.wait_for(r.__anext__(), 0.05)
            except asyncio.TimeoutError:
                pass
            else:
                raise AssertionError("there is no writer")
        later(2)
        with await r.__anext__() as f:
            assert f.planes[0][0] == 2
        writers.pop().close()
        try:
            await asyncio.wait_for(r.__anext__(), 0.05)  # a thread waits, until the reader is closed
        except asyncio.TimeoutError:
            pass


writers, threads = [], []


def later(value):
    """Makes a writer in a moment, of one frame."""

    def make():
        w = frames.create("com.example.again", frames.Format.bytes(1))
        writers.append(w)  # before who waits for the frame takes it
        with w.loan() as f:
            f.planes[0][0] = value

    thread = threading.Timer(0.02, make)
    threads.append(thread)
    thread.start()
    return True


if __name__ == "__main__":
    names()
    channels()
    waiting()
    print("all is well")
