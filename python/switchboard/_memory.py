# SPDX-License-Identifier: Apache-2.0
"""Shared memory, futexes and memory order, by way of ctypes.

Words that processes share are loaded and stored through memoryviews of format "I" and "Q": CPython copies one word of that size,
with one instruction. (struct with "<" would go byte by byte.)

Memory order (docs/frames.md, section 8): x86-64 keeps loads and stores in order, except that a store may be delayed behind a
later load. Where that matters fence() takes a free lock, which is an atomic read-modify-write, and so a full barrier on that machine. On
others fence() is a system call that contains a full barrier, made wherever the order matters: where WEAK is true.
"""

import atexit
import ctypes
import fcntl
import gc
import os
import platform
import sys
import threading

from ._fork import parents_only

if not sys.platform.startswith("linux"):
    raise ImportError("switchboard.frames needs Linux")

_FUTEX = {"x86_64": 202, "i386": 240, "i686": 240, "aarch64": 98, "riscv64": 98, "loongarch64": 98, "armv7l": 240,
          "ppc64le": 221, "s390x": 238}.get(platform.machine())
_WAIT, _WAKE, _WAKE_PRIVATE = 0, 1, 129

SEAL_SEAL, SEAL_SHRINK, SEAL_GROW, SEAL_FUTURE_WRITE = 1, 2, 4, 16
_ADD_SEALS, _GET_SEALS = 1033, 1034

_libc = ctypes.CDLL(None, use_errno=True)  # calls let other threads run
_quick = ctypes.PyDLL(None)  # calls do not, and cost less


class _Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


_LONG, _POINTER = ctypes.c_long, ctypes.c_void_p
_syscall = ctypes.CDLL(None).syscall  # calls let other threads run, and nobody asks for errno
_syscall.restype = _LONG
_syscall.argtypes = [_LONG, _POINTER, ctypes.c_int, ctypes.c_uint32, ctypes.POINTER(_Timespec), _POINTER, ctypes.c_uint32]
_quick_syscall = _quick.syscall
_quick_syscall.restype = _LONG
_quick_syscall.argtypes = [_LONG, _POINTER, ctypes.c_int, ctypes.c_uint32, _POINTER, _POINTER, ctypes.c_uint32]
_mmap = _libc.mmap
_mmap.restype = _POINTER
_mmap.argtypes = [_POINTER, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_munmap = _libc.munmap
_munmap.argtypes = [_POINTER, ctypes.c_size_t]
_madvise = _libc.madvise
_madvise.argtypes = [_POINTER, ctypes.c_size_t, ctypes.c_int]

_nobody = ctypes.c_uint32(0)  # nobody waits for it
_nobody_at = ctypes.addressof(_nobody)


def _fence_by_call():
    """A full barrier: FUTEX_WAKE has one between its entry and its look at who waits (kernel/futex), or else no futex would work."""
    _quick_syscall(_FUTEX, _nobody_at, _WAKE_PRIVATE, 0, None, None, 0)


WEAK = platform.machine() != "x86_64"  # whether this machine reorders more than a store before a load
fence = _fence_by_call

if not WEAK and sys.implementation.name == "cpython":
    _take, _give = (lambda lock: (lock.acquire, lock.release))(threading.Lock())

    def fence():
        """A full barrier: a free lock is taken by one locked instruction, which on this machine is one. A tenth of a system call's time."""
        if _take(False):
            _give()
        else:  # another thread, or what a signal or a finalizer has interrupted, is between the two; it looked, and did not take it
            _fence_by_call()


def duration(seconds):
    """A time to sleep, as futex_wait() wants it."""
    return _Timespec(int(seconds), int(seconds % 1 * 1e9))


def futex_wait(address, value, duration):
    """Sleeps while the word has the value: until a wake, a signal, or the end of the duration."""
    _syscall(_FUTEX, address, _WAIT, value, duration, None, 0)


def futex_wake(address):
    """Wakes all who sleep at the word. It is a full barrier, too."""
    _quick_syscall(_FUTEX, address, _WAKE, 0x7FFFFFFF, None, None, 0)


_collecting = False  # the garbage collector calls finalizers now
_unmapped = []  # what they give up


def _collector(phase, _):
    global _collecting
    _collecting = phase == "start"
    while not _collecting and _unmapped:
        _munmap(*_unmapped.pop())


def _never_again():
    # At the end of the interpreter finalizers run in any order, without a word of the collector. The memory ends with the process.
    global _munmap
    _munmap = lambda address, size: 0


gc.callbacks.append(_collector)
atexit.register(_never_again)


class Mapping:
    """A mapping of a whole memory file. It lasts as long as anything refers to it, and memoryviews of it do."""

    def __init__(self, fd, size, writable):
        self.size = size
        self.address = _mmap(None, size, 3 if writable else 1, 1, fd, 0)
        if self.address in (None, ctypes.c_void_p(-1).value):
            self.address = None
            error = ctypes.get_errno()
            raise OSError(error, "mmap: " + os.strerror(error))
        _madvise(self.address, size, 16)  # DONTDUMP: pixels do not belong in a core file
        self.writable = writable
        if writable:
            parents_only(self)

    def view(self, at, size, owner=None):
        """Returns a memoryview of bytes, which keeps the owner (unless said, this) alive."""
        array = (ctypes.c_char * size).from_address(self.address + at)
        array._owner = owner or self
        view = memoryview(array).cast("B")
        return view if self.writable else view.toreadonly()

    def forked(self):
        """Puts memory of the child's own in its place: what is released, or closed, in the child is not to be so in the parent."""
        _mmap(self.address, self.size, 3, 0x10 | 0x02 | 0x20 | 0x4000, -1, 0)  # FIXED, PRIVATE, ANONYMOUS, NORESERVE

    def __del__(self):
        if getattr(self, "address", None):
            if _collecting:  # other finalizers may still use it, in whatever order the collector calls them
                _unmapped.append((self.address, self.size))
            else:
                _munmap(self.address, self.size)
            self.address = None


def memory_file(name, size):
    """Makes a memory file that can be sealed."""
    try:
        fd = os.memfd_create(name, 1 | 2 | 8)  # CLOEXEC, ALLOW_SEALING, NOEXEC_SEAL
    except OSError:
        fd = os.memfd_create(name, 1 | 2)
    try:
        os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        raise
    return fd


def seal(fd, seals):
    fcntl.fcntl(fd, _ADD_SEALS, seals)


def checked_size(fd, seals):
    """Returns the size of a memory file, which must have the seals."""
    try:
        have = fcntl.fcntl(fd, _GET_SEALS)
    except OSError:
        have = 0
    if have & seals != seals:
        raise ValueError("it is no memory file that is sealed as it must be")
    return os.fstat(fd).st_size


if _FUTEX is None:
    raise ImportError("switchboard.frames does not know the futex call of this machine, %s" % platform.machine())
