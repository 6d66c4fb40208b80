# SPDX-License-Identifier: Apache-2.0
"""Protobuf by hand and the five-byte framing of running-process v1 (reference sections 2 to 4).

Messages are plain dicts with every field of messages.SCHEMA present. Decoding is as strict as the
original's: a known field of the wrong wire type, invalid UTF-8, field number 0 and a varint beyond
64 bits are errors (WireError); unknown fields are dropped; the last scalar wins.
"""

import struct

from messages import SCHEMA

VERSION = 1
BODY_CAP = 16 * 1024 * 1024  # bytes of a frame body
HELLO_CAP = 64 * 1024  # bytes of the frame body that holds a Hello
DEPTH_CAP = 100  # nested messages

VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32 = 0, 1, 2, 3, 4, 5


class WireError(Exception):
    """The bytes are not the message they should be."""


class FrameTooLarge(WireError):
    def __init__(self, length, cap):
        super().__init__(f"frame body of {length} bytes exceeds {cap}")
        self.length, self.cap = length, cap


class BadVersion(WireError):
    def __init__(self, got):
        super().__init__(f"framing version {got}, not {VERSION}")
        self.got = got


class ShortRead(WireError):
    """The stream ended; context is "framing byte", "body length header" or "frame body"."""

    def __init__(self, context):
        super().__init__(f"unexpected end of stream in {context}")
        self.context = context


def put_varint(value):
    """The varint of value, an integer taken modulo 2^64."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def get_varint(data, at):
    """(value, next position) of the varint at data[at]."""
    value = shift = 0
    while True:
        if at >= len(data):
            raise WireError("varint is cut short")
        byte = data[at]
        at += 1
        if shift == 63 and byte > 1:
            raise WireError("varint exceeds 64 bits")
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _sized(data, at):
    size, at = get_varint(data, at)
    if size > len(data) - at:
        raise WireError("length exceeds the message")
    return data[at:at + size], at + size


def _key(data, at):
    key, at = get_varint(data, at)
    if key > 0xFFFFFFFF or key >> 3 == 0 or key & 7 > FIXED32:
        raise WireError("bad field key")
    return key >> 3, key & 7, at


def _skip(data, at, number, wire, depth):
    if wire == VARINT:
        return get_varint(data, at)[1]
    if wire == BYTES:
        return _sized(data, at)[1]
    if wire in (FIXED64, FIXED32):
        at += 8 if wire == FIXED64 else 4
        if at > len(data):
            raise WireError("fixed field is cut short")
        return at
    if wire == END_GROUP or depth == 0:
        raise WireError("stray group end, or groups too deep")
    while True:
        inner, inner_wire, at = _key(data, at)
        if inner_wire == END_GROUP:
            if inner != number:
                raise WireError("group ends with another number")
            return at
        at = _skip(data, at, inner, inner_wire, depth - 1)


def empty(name):
    """Message name with all fields at their defaults."""
    out = {}
    for field, kind in SCHEMA[name].values():
        if kind.startswith("repeated "):
            out[field] = []
        elif kind == "map":
            out[field] = {}
        elif kind.startswith(("message ", "optional ")):
            out[field] = None
        else:
            out[field] = {"string": "", "bytes": b"", "bool": False}.get(kind, 0)
    return out


def _text(raw):
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as err:
        raise WireError("string is not UTF-8") from err


def _value(kind, raw, wire, depth):
    scalar = kind in ("u32", "u64", "bool", "enum")
    if wire != (VARINT if scalar else BYTES):
        raise WireError("known field with the wrong wire type")
    if kind == "u32":
        return raw & 0xFFFFFFFF
    if kind == "enum":
        return (raw & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
    if kind == "bool":
        return raw != 0
    if kind == "u64" or kind == "bytes":
        return raw
    if kind == "string":
        return _text(raw)
    return decode(kind.removeprefix("message "), raw, depth - 1)


def decode(name, data, depth=DEPTH_CAP):
    """The dict of message name (a key of SCHEMA) in data."""
    if depth < 0:
        raise WireError("messages nested too deep")
    data = bytes(data)
    fields, out, at = SCHEMA[name], empty(name), 0
    while at < len(data):
        number, wire, at = _key(data, at)
        if number not in fields:
            at = _skip(data, at, number, wire, depth)
            continue
        field, kind = fields[number]
        if wire == VARINT:
            raw, at = get_varint(data, at)
        elif wire == BYTES:
            raw, at = _sized(data, at)
        else:
            raise WireError(f"{name}.{field} has the wrong wire type")
        if kind == "map":
            if wire != BYTES:
                raise WireError(f"{name}.{field} has the wrong wire type")
            entry = decode("MapEntry", raw, depth - 1)
            out[field][entry["key"]] = entry["value"]
        elif kind.startswith("repeated "):
            out[field].append(_value(kind.removeprefix("repeated "), raw, wire, depth))
        else:
            out[field] = _value(kind.removeprefix("optional "), raw, wire, depth)
    return out


def _item(number, kind, value):
    if kind in ("u32", "u64", "bool", "enum"):
        return put_varint(number << 3 | VARINT) + put_varint(int(value))
    if kind == "string":
        value = value.encode()
    elif kind.startswith("message "):
        value = encode(kind.removeprefix("message "), value)
    return put_varint(number << 3 | BYTES) + put_varint(len(value)) + value


def encode(name, values, explicit=()):
    """Bytes of message name, fields ascending, maps by key; defaults are left out but for explicit names."""
    out = []
    for number, (field, kind) in sorted(SCHEMA[name].items()):
        if field not in values:
            continue
        value = values[field]
        if kind == "map":
            entries = [encode("MapEntry", {"key": k, "value": v}) for k, v in sorted(value.items())]
            out += [_item(number, "bytes", entry) for entry in entries]
        elif kind.startswith("repeated "):
            out += [_item(number, kind.removeprefix("repeated "), item) for item in value]
        elif value is None:
            continue
        elif value or field in explicit or kind.startswith(("optional ", "message ")):
            out.append(_item(number, kind.removeprefix("optional "), value))
    return b"".join(out)


def frame_bytes(body):
    """Header and body."""
    return struct.pack("<BI", VERSION, len(body)) + body


def take_frame(data, cap=BODY_CAP):
    """(body, rest) of the frame at the start of data, or (None, data) while more is needed."""
    if not data:
        return None, data
    if data[0] != VERSION:
        raise BadVersion(data[0])
    if len(data) < 5:
        return None, data
    length = struct.unpack_from("<I", data, 1)[0]
    if length > cap:
        raise FrameTooLarge(length, cap)
    if len(data) < 5 + length:
        return None, data
    return data[5:5 + length], data[5 + length:]


def short_context(data):
    """What an incomplete frame lacks, in the words of section 2."""
    return "framing byte" if not data else "body length header" if len(data) < 5 else "frame body"


class RawBytes(bytes):
    """Bytes to send as they are, instead of a frame body."""


class Stream:
    """Frames on a connected socket; bytes after a frame stay for the next call."""

    def __init__(self, sock):
        self.sock, self.held = sock, b""

    def send(self, body):
        self.sock.sendall(frame_bytes(body))

    def receive(self, cap=BODY_CAP):
        """The next frame's body. ShortRead at the end of the stream, TimeoutError after the socket's timeout."""
        parts, size = [self.held], len(self.held)
        while True:
            if size >= 5 or size == 0 or parts[0][:1] != b"\x01":
                whole = b"".join(parts)
                body, rest = take_frame(whole, cap)
                parts = [whole]
                if body is not None:
                    self.held = rest
                    return body
            self.held = b"".join(parts)
            chunk = self.sock.recv(1 << 18)
            if not chunk:
                raise ShortRead(short_context(self.held))
            parts.append(chunk)
            size += len(chunk)
