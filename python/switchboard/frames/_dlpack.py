# SPDX-License-Identifier: Apache-2.0
"""Frames for whatever takes DLPack (torch.from_dlpack(frame), numpy.from_dlpack), without a copy and without numpy."""

import ctypes


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("id", ctypes.c_int32)]


class _Type(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device", _Device), ("ndim", ctypes.c_int32), ("dtype", _Type),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64)]


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]


class _Versioned(ctypes.Structure):
    _fields_ = [("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p), ("deleter", _Deleter),
                ("flags", ctypes.c_uint64), ("tensor", _Tensor)]


_exported = {}  # address of a managed tensor: what keeps it and its memory alive
_KINDS = {"u": 1, "i": 0, "f": 2, "c": 5, "b": 6}

_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]


@_Deleter
def _forget(address):
    _exported.pop(address, None)


def _destroy(capsule):
    for name in (b"dltensor", b"dltensor_versioned"):  # else somebody has taken it, and calls the deleter
        if _is_valid(capsule, name):
            _exported.pop(_pointer(capsule, name), None)


_destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_destroy)


def export(frame, max_version):
    """Returns a capsule for the only plane of a frame or loan, which stays as long as that is used."""
    if len(frame.planes) != 1:
        raise BufferError("%s has %d planes" % (frame.format.name, len(frame.planes)))
    plane = frame.planes[0]
    if frame.format.fourcc:
        kind, shape, strides = frame.format.strided(0)
        kind = kind.lstrip("<")
        size, dtype = int(kind[1:]), None
        dtype = _Type(_KINDS[kind[0]], size * 8, 1)
    else:
        dtype, shape, strides = _Type(*frame.format.type), frame.format.shape, frame.format.strides
        size = frame.format.type[1] // 8
    # Before 1.0 DLPack cannot say that the planes of a frame cannot be written. numpy 1 takes what comes for read-only; who writes
    # nevertheless does no harm to others: the memory itself is read-only, and the program ends with SIGSEGV.
    versioned = max_version is not None and max_version[0] >= 1
    managed = (_Versioned if versioned else _Managed)()
    n = len(shape)
    held = (ctypes.c_int64 * n)(*shape), (ctypes.c_int64 * n)(*(s // size for s in strides))
    array = plane.obj
    managed.tensor = _Tensor(ctypes.addressof(array) + frame._start + frame.format.planes[0].offset, _Device(1, 0), n, dtype, held[0], held[1], 0)
    managed.deleter = _forget
    if versioned:
        managed.major, managed.minor, managed.flags = 1, 0, 1 if plane.readonly else 0
    address = ctypes.addressof(managed)
    _exported[address] = managed, held, array
    return _new(address, b"dltensor_versioned" if versioned else b"dltensor", ctypes.cast(_destructor, ctypes.c_void_p))
