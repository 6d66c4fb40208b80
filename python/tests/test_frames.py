# SPDX-License-Identifier: Apache-2.0
"""python3 -m unittest discover -s python/tests"""

import ast
import asyncio
import ctypes
import fractions
import gc
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from switchboard import Link, _memory, frames
from switchboard.frames import Format, Reader, Writer, _dlpack

try:
    import numpy
except ImportError:
    numpy = None

SMALL = Format("BGRA", 30, 20)


def connected(writer, mode="every", kind=socket.SOCK_SEQPACKET, **options):
    a, b = socket.socketpair(socket.AF_UNIX, kind)
    writer.serve(a)
    return Reader(b, mode, **options)


def publish(writer, value):
    with writer.loan(10) as loan:
        for plane in loan.planes:
            plane[:] = bytes([value & 255]) * len(plane)


class Frames(unittest.TestCase):
    def test_fields(self):
        for kind in (socket.SOCK_SEQPACKET, socket.SOCK_STREAM):
            with Writer(Format("NV12", 33, 17, rate=(30000, 1001), colour=(1, 1, 1, 0))) as w, connected(w, kind=kind) as r:
                self.assertEqual(r.format, w.format)
                with w.loan() as l:
                    l.timestamp, l.duration, l.flags, l.crop, l.transform, l.metadata = 5, 6, frames.KEYFRAME, (1, 2, 3, 4), 7, b"meta"
                    l.answers, l.colour = (1 << 63, 2, 3, 4), (9, 16, 9, 1)
                f = r.next(10)
                self.assertEqual((f.sequence, f.timestamp, f.duration, f.flags, f.crop, f.transform, f.metadata, f.answers, tuple(f.colour)),
                                 (1, 5, 6, 1, (1, 2, 3, 4), 7, b"meta", (1 << 63, 2, 3, 4), (9, 16, 9, 1)))
                self.assertEqual(len(f.planes), 2)
                with self.assertRaises(TypeError):
                    f.planes[0][0] = 1

    def test_modes(self):
        with Writer(SMALL) as w:
            latest, every, deep = connected(w, "latest"), connected(w), connected(w, depth=2)
            for n in range(10):
                publish(w, n)
            f = latest.next(1)
            self.assertEqual((f.sequence, f.missed), (10, 9))
            f = deep.next(1)
            self.assertEqual((f.sequence, f.missed), (9, 8))
            f = every.next(1)
            self.assertEqual((f.sequence, f.missed, f.planes[0][9]), (7, 6, 6))
            with self.assertRaises(TimeoutError):
                connected(w).next(0.001)
            self.assertEqual(connected(w, last=True).next(1).sequence, 10)

    def test_strangers(self):
        with Writer(SMALL, readers=1) as w:
            ours = []
            for _ in range(80):
                a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                ours.append(b)
                w.serve(a)
            self.assertEqual(len(w._lines), 65)
            for b in ours:
                b.close()
            end = time.monotonic() + 10
            while w._lines and time.monotonic() < end:
                time.sleep(0.001)
            with connected(w) as r:
                publish(w, 1)
                r.next(10).release()

    def test_link_over(self):
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with Link(a) as link:
            b.close()
            with self.assertRaises(frames.WriterGone):
                link.open("out")

    def test_forked_child(self):
        for what, wake in (("reader", ""), ("writer", "event"), ("writer", "futex")):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            role = os.path.join(os.path.dirname(os.path.abspath(__file__)), "role.py")
            p = subprocess.Popen([sys.executable, role, "forks", what, str(theirs.fileno())], pass_fds=(theirs.fileno(),),
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            theirs.close()
            with p, Writer(SMALL) as w:
                if what == "reader":
                    publish(w, 1)
                    w.serve(ours)
                    self.assertEqual(p.stdout.readline(), b"forked\n")
                    end = time.monotonic() + 10
                    while w.stats()["readers"] and time.monotonic() < end:
                        time.sleep(0.001)
                    self.assertEqual(w.stats()["readers"], [])
                else:
                    with Reader(ours, "every", last=True, wake=wake) as r:
                        r.next(10).release()
                        self.assertEqual(p.stdout.readline(), b"forked\n")
                        with self.assertRaises(frames.WriterGone):
                            r.next(10)
                p.stdin.close()
                p.stdout.close()

    def test_held_frames_do_not_change(self):
        with Writer(SMALL, slots=2, readers=1, holds=3) as w, connected(w) as r:
            held = []
            for n in range(3):
                publish(w, n)
                held.append(r.next(1))
            publish(w, 0)
            with self.assertRaises(frames.TooManyHeld):
                r.next(1)
            for n in range(50):
                publish(w, 100 + n)
            self.assertEqual([f.planes[0][5] for f in held], [0, 1, 2])
            plane = held[0].planes[0]
            held[0].release()
            with self.assertRaises(ValueError):
                plane[0]
            held.clear()  # who is dropped releases itself
            self.assertEqual(w.stats()["readers"][0]["held"], 0)
            view = r.next(1).planes[0]  # as long as a plane is there, the frame is held
            self.assertEqual(w.stats()["readers"][0]["held"], 1)
            del view
            self.assertEqual(w.stats()["readers"][0]["held"], 0)

    def test_lossless(self):
        with Writer(SMALL, slots=3) as w, connected(w, "lossless", deadline=20) as r:
            def write():
                for n in range(200):
                    publish(w, n)
            thread = threading.Thread(target=write)
            thread.start()
            for n in range(200):
                with r.next(10) as f:
                    self.assertEqual((f.sequence, f.planes[0][0]), (n + 1, n & 255))
            thread.join()

    def test_eviction(self):
        with Writer(SMALL, slots=2) as w, connected(w, "lossless", deadline=0.005) as r:
            for n in range(8):
                publish(w, n)
            with self.assertRaises(frames.Evicted):
                while True:
                    r.next(1).release()

    def test_format_change(self):
        for mode in ("latest", "every", "lossless"):
            with Writer(SMALL) as w, connected(w, mode) as r:
                publish(w, 1)
                held = r.next(1)
                publish(w, 2)
                w.reformat(Format(dtype="float32", shape=(2, 3)))
                publish(w, 3)
                self.assertEqual([(f.sequence, f.epoch, repr(f.format)) for f in (r.next(1), r.next(1))],
                                 [(2, 1, "30x20 BGRA"), (3, 2, "float32[2, 3]")])
                self.assertEqual(held.planes[0][0], 1)

    def test_ends(self):
        for wake in ("event", "futex"):
            with Writer(SMALL) as w:
                r = connected(w, wake=wake)
                publish(w, 1)
                threading.Timer(0.02, w.close).start()
                self.assertEqual([f.sequence for f in r], [1])
            w = Writer(SMALL)
            r = connected(w, wake=wake)
            threading.Timer(0.02, lambda: [line.sock.shutdown(2) for line in list(w._lines)]).start()
            with self.assertRaises(frames.WriterGone):
                r.next(10)
            w.close()

    def test_rejoin_given_up(self):
        with Writer(SMALL) as first, Writer(SMALL) as second:
            calls = []

            def redial(timeout=None):
                calls.append(timeout)
                if len(calls) < 4:
                    raise TimeoutError
                a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                if len(calls) == 4:
                    a.close()  # one that is gone already
                else:
                    second.serve(a)
                return b

            for wake in ("event", "futex"):
                calls.clear()
                r = connected(first, wake=wake, redial=redial)
                for line in list(first._lines):
                    line.hang_up()
                for _ in range(3):  # who waits for the next writer in vain can do so again
                    with self.assertRaises(TimeoutError):
                        r.next(0.01)
                    spare = os.open(os.devnull, os.O_RDONLY)  # would have the number of a descriptor that is closed again
                    os.fstat(spare)
                    self.addCleanup(os.close, spare)
                publish(second, 7)
                r._options = (True,) + r._options[1:]
                f = r.next(10)
                self.assertEqual((f.planes[0][0], f.flags), (7, frames.DISCONTINUITY))
                r.close()

    def test_close_under_callers(self):
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)
        for _ in range(1000):
            w = Writer(SMALL)
            failed, under = [], threading.Event()

            def call():
                while not w.closed:
                    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                    try:
                        w.serve(a)
                    except Exception as e:
                        failed.append(e)
                    b.close()
                    under.set()

            thread = threading.Thread(target=call)
            thread.start()
            under.wait()
            w.close()
            thread.join()
            self.assertEqual(failed, [])

    def test_loans(self):
        with Writer(SMALL, slots=2) as w:
            a, b = w.loan(), w.loan()
            with self.assertRaises(frames.NoSlot):
                w.loan()
            del a
            gc.collect()
            c = w.loan()
            b.drop()
            c.publish()
            with self.assertRaises(ValueError):
                c.publish()
            with self.assertRaises(KeyError):
                with w.loan():
                    raise KeyError
            self.assertEqual((w.stats()["published"], w.stats()["dropped"]), (1, 3))

    def test_asyncio(self):
        async def read(r, n):
            seen = []
            async for f in r:
                with f:
                    seen.append(f.planes[0][0])
                if len(seen) == n:
                    break
            return seen

        async def main(w, readers):
            both = asyncio.gather(*(read(r, 5) for r in readers))
            for n in range(5):
                await asyncio.sleep(0.01)
                publish(w, n)
            return await both

        with Writer(SMALL) as w:
            self.assertEqual(asyncio.run(main(w, [connected(w), connected(w)])), [[0, 1, 2, 3, 4]] * 2)

    def test_loop_of_ones_own(self):
        """The example of docs/frames.md, as it stands there."""
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "frames.md"), encoding="utf-8") as f:
            names = {}
            exec(re.search("```python\n(import asyncio\n.*?)```", f.read(), re.DOTALL)[1], names)

        async def main(w, r, seen):
            over = names["watch"](r, lambda f: seen.append(f.planes[0][0]))
            for n in range(20):
                publish(w, n)
                while len(seen) <= n:
                    await asyncio.sleep(0)
                if n % 5 == 0:
                    w.reformat(Format.bytes(n + 1))
            w.close()
            return await over

        with Writer(SMALL) as w, connected(w) as r:
            seen = []
            self.assertIsInstance(asyncio.run(asyncio.wait_for(main(w, r, seen), 30)), EOFError)
            self.assertEqual(seen, list(range(20)))

    def test_interrupted(self):
        """A signal ends the sleep of a reader, which can go on afterwards."""
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        for wake in ("event", "futex"):
            with Writer(SMALL) as w, connected(w, wake=wake) as r:
                for n in range(3):
                    with self.assertRaises(KeyboardInterrupt):
                        threading.Timer(0.02, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
                        r.next(30)
                    self.assertEqual(r._view.mine32[0], 0)
                    publish(w, n)
                    with r.next(30) as f:
                        self.assertEqual((f.planes[0][0], f.missed), (n, 0))
                self.assertEqual(w.stats()["readers"][0]["held"], 0)

    def test_views_kept(self):
        """What is kept of a frame that was released says so, or, as a part of it, is memory that is still there."""
        with Writer(Format("NV12", 32, 16), slots=2) as w, connected(w) as r:
            loan = w.loan()
            planes = loan.planes
            planes[0][0] = 7
            loan.publish()
            self.assertEqual(loan.planes, ())
            f = r.next(10)
            kept, part = f.planes, f.planes[0][:4]
            f.release()
            f.release()
            self.assertEqual(f.planes, ())
            self.assertIn("released", repr(f))
            for plane in planes + kept:
                for use in (lambda: plane[0], lambda: bytes(plane), lambda: memoryview(plane), lambda: plane.cast("b")):
                    with self.assertRaises(ValueError):
                        use()
            with self.assertRaises(TypeError):
                part[0] = 1
            w.close()
            r.close()
            del f, loan, planes, kept, plane, use, w, r
            gc.collect()
            self.assertEqual(len(bytes(part)), 4)

    def test_dlpack_without_numpy(self):
        def exported(thing, version):
            capsule = thing.__dlpack__(max_version=version)
            pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
            if version:
                t = _dlpack._Versioned.from_address(pointer(capsule, b"dltensor_versioned")).tensor
            else:
                t = _dlpack._Managed.from_address(pointer(capsule, b"dltensor")).tensor
            self.assertEqual((t.ndim, t.shape[:2], t.strides[:2], t.dtype.bits, t.device.type), (2, [3, 5], [5, 1], 16, 1))
            return list((ctypes.c_int16 * 15).from_address(t.data + t.byte_offset))

        with Writer(Format(dtype="int16", shape=(3, 5))) as w, connected(w) as r:
            for n in range(3):  # in one slot after the other
                numbers = list(range(n, n + 15))
                with w.loan() as loan:
                    loan.planes[0][:] = struct.pack("<15h", *numbers)
                    self.assertEqual((exported(loan, None), exported(loan, (1, 0))), (numbers, numbers))
                with r.next(10) as f:
                    self.assertEqual((exported(f, None), exported(f, (1, 0))), (numbers, numbers))
                    self.assertEqual(f.__dlpack_device__(), (1, 0))
            self.assertEqual(_dlpack._exported, {})
        with Writer("4x2:NV12") as w, self.assertRaises(BufferError):
            w.loan().__dlpack__()

    def test_death_is_seen_by_the_writer(self):
        """What a reader held, or still needed, is free although no other thread of the writer has its turn."""
        with Writer(SMALL, slots=3, readers=2, holds=1, patience=60) as w:
            other = connected(w)
            for mode in ("every", "lossless"):
                publish(w, 1)
                r = connected(w, mode, last=True, deadline=60)
                slot = r.next(10).slot
                while len(w.stats()["readers"]) < 2:
                    time.sleep(0.001)
                with w._lock:  # the other thread cannot do more than it does without
                    r._line.hang_up()
                    slots, end = [], time.monotonic() + 30
                    while slot not in slots[5:] and time.monotonic() < end:
                        loan = w.loan(30)
                        slots.append(loan._slot)
                        loan.publish()
                    self.assertIn(slot, slots)
                    self.assertEqual(len(w.stats()["readers"]), 1)
                r.close()
            other.close()

    def test_fence_within_a_fence(self):
        if _memory.fence is _memory._fence_by_call:
            self.skipTest("SKIP: here it is a system call")
        _memory._take(False)
        try:
            _memory.fence()  # as of a finalizer, in the middle of one
        finally:
            _memory._give()

    def test_link(self):
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with Link(a) as one, Link(b) as other:
            w = one.create("in", SMALL)
            r = other.open("in", every=True)
            publish(w, 9)
            self.assertEqual(r.next(10).planes[0][0], 9)
            back = other.create("out", SMALL)
            publish(back, 8)
            self.assertEqual(one.open("out", last=True).next(10).planes[0][0], 8)

    def test_fork(self):
        with Writer(SMALL) as w, connected(w) as r:
            pid = os.fork()
            if pid == 0:
                os._exit(0 if r._line.sock.fileno() == -1 else 1)
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
            publish(w, 3)
            self.assertEqual(r.next(5).planes[0][0], 3)

    def test_forked_child_harms_nobody(self):
        """What a forked child releases, drops, publishes and closes stays as it is in its parent."""
        with Writer(SMALL) as w, connected(w, "every") as r:
            publish(w, 1)
            held, loan = r.next(10), w.loan()
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    held.release()
                    for f in (loan.publish, w.loan, r.next, r.poll):
                        try:
                            f()
                        except ValueError:
                            pass
                        else:
                            os._exit(2)
                    loan.drop()
                    r.close()
                    w.close()
                    code = 0
                finally:
                    os._exit(code)
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
            self.assertEqual(w.stats()["readers"][0]["held"], 1)
            with self.assertRaises(TimeoutError):
                r.next(0.001)
            loan.publish()
            self.assertEqual(r.next(10).sequence, 2)
            publish(w, 3)
            self.assertEqual(r.next(10).sequence, 3)

    def test_collected(self):
        """Frames, loans, readers and writers that refer to themselves go in any order, with memory that they still look at."""
        class Last:
            def __del__(self):
                self.seen = bytes(self.plane[:1])
                if self.frame is not None:
                    self.frame.release()

        gc.disable()  # so that all of them are collected together
        try:
            for _ in range(20):
                w = Writer(SMALL)
                r = connected(w)
                loan = w.loan()
                loan.planes[0][:1] = b"x"
                loan.publish()
                things = [w, r, w.loan(), Last(), r.next(10)]
                things[3].frame, things[3].plane = things[4], memoryview(things[4].planes[0])
                things.append(things)
                w._lines.clear()  # the background thread knows the writer
                from switchboard._loop import loop
                for line in [a.line for a in w._readers]:
                    loop.remove(line.fileno())
                    loop.remove(next(a.living for a in w._readers))
                del w, r, loan, things, line
                gc.collect()
        finally:
            gc.enable()

    def test_dropped_in_a_cycle(self):
        with Writer(SMALL) as w, connected(w, "latest") as r:
            gc.disable()
            try:
                for n in range(20):
                    publish(w, n)
                    around = [r.next(10)]
                    around.append(around)
            finally:
                gc.enable()

    def test_publish_fails(self):
        """What cannot be published takes neither a slot nor a sequence, and can be mended."""
        with Writer(SMALL, slots=2, readers=1, holds=1) as w, connected(w) as r:
            for attribute, value, error in (("metadata", b"x" * 3841, ValueError), ("metadata", "text", TypeError), ("timestamp", 1.5, ValueError),
                                            ("flags", -1, ValueError), ("crop", (1, 2), ValueError), ("answers", (1,), ValueError)):
                for _ in range(5):
                    loan = w.loan()
                    setattr(loan, attribute, value)
                    with self.assertRaises(error):
                        loan.publish()
                    with self.assertRaises(error), w.loan() as other:
                        setattr(other, attribute, value)
                    loan.drop()
            with w.loan() as loan:
                loan.metadata = bytearray(b"x" * 3840)
            f = r.next(10)
            self.assertEqual((f.sequence, f.missed, f.metadata), (1, 0, b"x" * 3840))
            self.assertEqual(w.stats()["dropped"], 60)

    def test_mad_cursor(self):
        """A lossless reader whose cursor goes up and down makes no progress."""
        with Writer(SMALL, slots=2, readers=1, holds=1) as w, connected(w, "lossless", deadline=0.02) as r:
            for n in range(500):
                publish(w, n)
                r.next(10).release()
            stop = threading.Event()

            def noise():
                while not stop.is_set():
                    for cursor in range(0, 500, 7):
                        r._view.mine64[8] = cursor
                        time.sleep(0.0001)

            thread = threading.Thread(target=noise)
            thread.start()
            try:
                for n in range(5):
                    publish(w, n)
            finally:
                stop.set()
                thread.join()
            self.assertEqual(w.stats()["evicted"], 1)

    def test_wait_for_what_is_not_needed(self):
        """A loan whose pool is another than when it first said that it waits looks again: the reader may have gone on before it was asked."""
        with Writer(SMALL, slots=2) as w, connected(w, "lossless", deadline=20) as r:
            publish(w, 0)
            r.next(60).release()
            with w._changed:
                w._await(1, {}, 0)  # TimeoutError, if it would wait

    def test_close_while_waiting(self):
        for wake in ("event", "futex"):
            with Writer(SMALL) as w:
                r = connected(w, wake=wake)
                threading.Timer(0.02, r.close).start()
                with self.assertRaises(ValueError):
                    r.next(10)

    def test_other_version(self):
        with Writer(SMALL) as w:
            a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            w.serve(a)
            b.settimeout(10)
            b.send(struct.pack("<IHBBQ16s", 32, 1, 0, 2, 0, b""))
            self.assertEqual(struct.unpack_from("<IHBBQI", b.recv(4096))[1::4], (6, 64))
            self.assertEqual(b.recv(4096), b"")

    def test_formats(self):
        for dtype, name in {"f4": "float32", "<f4": "float32", "|u1": "uint8", "float": "float64", "bool": "bool8", "torch.bfloat16": "bfloat16", float: "float64",
                            int: "int64", bool: "bool8"}.items():
            self.assertEqual(Format(dtype=dtype, shape=[2, 3]).name, name)
        self.assertEqual(Format(dtype="u1", shape=7).shape, (7,))
        for dtype in (">f4", "str", "f", "float12", "x4"):
            with self.assertRaises(ValueError, msg=dtype):
                Format(dtype=dtype, shape=(1,))
        for text, want in {"33x17@30000/1001:NV12": Format("NV12", 33, 17, rate=(30000, 1001)), "4x3@60": Format("BGRA", 4, 3, rate=60),
                           "4x3:R8": Format("GRAY8", 4, 3), "4x3@25:AR24": Format(frames.BGRA, 4, 3, rate=fractions.Fraction(25))}.items():
            self.assertEqual(Format.parse(text), want)
            with Writer(text) as w:
                self.assertEqual(w.format, want)
        for text in ("", "4x3@", "0x3@5", "4x3@5:XXXXX", "4x3@5:XXXX", "-1x3"):
            with self.assertRaises(ValueError, msg=text):
                Format.parse(text)
        for name in ("", "ABCDE", "é", "XXXX"):
            with self.assertRaises(ValueError, msg=name):
                Format(name, 4, 4)

    def test_refused(self):
        with Writer(SMALL, readers=1) as w, connected(w):
            with self.assertRaises(frames.Refused) as caught:
                connected(w)
            self.assertEqual(caught.exception.code, 75)

    def test_descriptors(self):
        def go():
            with Writer(SMALL) as w:
                r = connected(w)
                publish(w, 1)
                w.reformat(Format.bytes(10))
                publish(w, 2)
                r.next(1), r.next(1)
                r.close()
        go()
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            go()
        gc.collect()
        deadline = time.monotonic() + 10  # the background thread closes some
        while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


@unittest.skipIf(numpy is None, "SKIP: no numpy")
class Arrays(unittest.TestCase):
    def test_pictures(self):
        for name, shapes in {"BGRA": [(17, 33, 4)], "RGB": [(17, 33, 3)], "GRAY8": [(17, 33)], "GRAY16": [(17, 33)], "NV12": [(17, 33), (9, 17, 2)],
                             "I420": [(17, 33), (9, 17), (9, 17)], "YUYV": [(17, 34, 2)], "RGBA16F": [(17, 33, 4)], "RGB565": [(17, 33)]}.items():
            with Writer(Format(name, 33, 17)) as w, connected(w) as r:
                with w.loan() as l:
                    for a in l.arrays:
                        a[:] = numpy.arange(a.size).reshape(a.shape).astype(a.dtype)
                    del a
                f = r.next(1)
                self.assertEqual([a.shape for a in f.arrays], shapes)
                for a in f.arrays:
                    self.assertTrue((a == numpy.arange(a.size).reshape(a.shape).astype(a.dtype)).all(), name)
                    self.assertFalse(a.flags.writeable)

    def test_array_holds_the_frame(self):
        with Writer(SMALL, slots=2) as w, connected(w) as r:
            publish(w, 7)
            a = r.next(1).array
            for n in range(20):
                publish(w, n)
            self.assertTrue((a == 7).all())
            del a
            self.assertEqual(w.stats()["readers"][0]["held"], 0)

    def test_dlpack(self):
        with Writer(Format(dtype="int16", shape=(3, 5))) as w, connected(w) as r:
            loan = w.loan()
            a = numpy.from_dlpack(loan)
            self.assertEqual((a.shape, a.dtype), ((3, 5), numpy.int16))
            loan.array[1, 2] = 77
            self.assertEqual(a[1, 2], 77)
            del a
            gc.collect()
            self.assertEqual(_dlpack._exported, {})
            loan.publish()
            f = r.next(1)
            self.assertEqual(f.array[1, 2], 77)
            a = numpy.from_dlpack(f)  # numpy 1 asks for no version, and takes what comes for read-only
            self.assertEqual((a[1, 2], a.flags.writeable), (77, False))
            del a
            gc.collect()
            self.assertIn('"dltensor"', repr(f.__dlpack__()))
            self.assertEqual(_dlpack._exported, {})
            capsule = f.__dlpack__(max_version=(1, 0))
            self.assertIn("dltensor_versioned", repr(capsule))
            self.assertEqual(len(_dlpack._exported), 1)
            del capsule
            self.assertEqual(_dlpack._exported, {})


class Installing(unittest.TestCase):
    def test_language(self):
        """It parses as Python 3.9."""
        top = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
        for folder, _, files in os.walk(os.path.join(top, "switchboard")):
            for name in files:
                if name.endswith(".py"):
                    with open(os.path.join(folder, name), encoding="utf-8") as f:
                        ast.parse(f.read(), name, feature_version=(3, 9))

    def test_backend(self):
        import tempfile
        import zipfile
        here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
        with tempfile.TemporaryDirectory() as folder:
            code = "import backend, sys; print(backend.build_wheel(sys.argv[1])); backend.build_editable(sys.argv[1]) and backend.build_sdist(sys.argv[1])"
            done = subprocess.run([sys.executable, "-B", "-c", code, folder], cwd=here, check=True, capture_output=True, text=True)
            with zipfile.ZipFile(os.path.join(folder, done.stdout.strip())) as z:
                self.assertIsNone(z.testzip())


if __name__ == "__main__":
    unittest.main()
