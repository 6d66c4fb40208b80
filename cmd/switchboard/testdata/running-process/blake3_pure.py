# SPDX-License-Identifier: Apache-2.0
"""BLAKE3 in its plain hash mode with 32 bytes out, any input length; slow, and enough for tests."""

import struct

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
DIAGONALS = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
CHUNK, BLOCK = 1024, 64
MASK = 0xFFFFFFFF


def _compress(chain, words, counter, size, flags):
    v = list(chain) + list(IV[:4]) + [counter & MASK, counter >> 32, size, flags]
    for _ in range(7):
        at = 0
        for a, b, c, d in COLUMNS + DIAGONALS:
            for word, first, second in ((words[at], 16, 12), (words[at + 1], 8, 7)):
                v[a] = (v[a] + v[b] + word) & MASK
                x = v[d] ^ v[a]
                v[d] = (x >> first | x << 32 - first) & MASK
                v[c] = (v[c] + v[d]) & MASK
                x = v[b] ^ v[c]
                v[b] = (x >> second | x << 32 - second) & MASK
            at += 2
        words = [words[i] for i in ORDER]
    return [v[i] ^ v[i + 8] for i in range(8)]


def _chunk(data, index, root):
    chain, blocks = list(IV), [data[i:i + BLOCK] for i in range(0, len(data), BLOCK)] or [b""]
    for number, block in enumerate(blocks):
        flags = CHUNK_START if number == 0 else 0
        if number == len(blocks) - 1:
            flags |= CHUNK_END | root
        words = struct.unpack("<16I", block.ljust(BLOCK, b"\0"))
        chain = _compress(chain, words, index, len(block), flags)
    return chain


def _tree(data, index, root):
    count = (len(data) + CHUNK - 1) // CHUNK
    if count <= 1:
        return _chunk(data, index, root)
    left = 1 << (count - 1).bit_length() - 1  # the largest power of two below count
    words = _tree(data[:left * CHUNK], index, 0) + _tree(data[left * CHUNK:], index + left, 0)
    return _compress(IV, words, 0, BLOCK, PARENT | root)


def blake3(data):
    """The 32-byte hash of data (bytes)."""
    return struct.pack("<8I", *_tree(bytes(data), 0, ROOT))
