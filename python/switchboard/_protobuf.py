# SPDX-License-Identifier: Apache-2.0
"""As much of protobuf as the payloads of session.sock need."""


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def encode(**fields):
    """Encodes fields named f1, f2, … in order; numbers, texts and bytes. What is 0 or empty is left out."""
    out = b""
    for name, value in sorted(fields.items(), key=lambda item: int(item[0][1:])):
        number = int(name[1:])
        if isinstance(value, str):
            value = value.encode()
        if not value:
            continue
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def _read(b, at):
    n = shift = 0
    while True:
        n |= (b[at] & 0x7F) << shift
        at += 1
        if b[at - 1] < 0x80:
            return n, at
        shift += 7


def decode(b):
    """Returns {number: [values]}; values are numbers or bytes."""
    fields, at = {}, 0
    while at < len(b):
        key, at = _read(b, at)
        if key & 7 == 0:
            value, at = _read(b, at)
        elif key & 7 == 2:
            size, at = _read(b, at)
            value, at = b[at:at + size], at + size
        elif key & 7 in (1, 5):
            size = 8 if key & 7 == 1 else 4
            value, at = b[at:at + size], at + size
        else:
            raise ValueError("a malformed message")
        fields.setdefault(key >> 3, []).append(value)
    return fields


def number(fields, n):
    return fields.get(n, [0])[-1]


def text(fields, n):
    return bytes(fields.get(n, [b""])[-1]).decode("utf-8", "replace")
