// SPDX-License-Identifier: Apache-2.0
// BLAKE3 (plain hash, 32 bytes) and SHA-256 of whole buffers, for the test backend.

#ifndef HASH_H
#define HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { HASH_BYTES = 32, B3_CHUNK = 1024, B3_BLOCK = 64 };
enum { B3_START = 1, B3_END = 2, B3_PARENT = 4, B3_ROOT = 8 };

static const uint32_t hash_iv[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static uint32_t rotr(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void b3_mix(uint32_t *v, int a, int b, int c, int d, uint32_t x, uint32_t y) {
	v[a] += v[b] + x;
	v[d] = rotr(v[d] ^ v[a], 16);
	v[c] += v[d];
	v[b] = rotr(v[b] ^ v[c], 12);
	v[a] += v[b] + y;
	v[d] = rotr(v[d] ^ v[a], 8);
	v[c] += v[d];
	v[b] = rotr(v[b] ^ v[c], 7);
}

// b3_compress turns chain into the next chaining value; words is used up.
static void b3_compress(uint32_t chain[8], uint32_t words[16], uint64_t counter, uint32_t size, uint32_t flags) {
	static const int order[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};
	uint32_t v[16], next[16];
	memcpy(v, chain, 32);
	memcpy(v + 8, hash_iv, 16);
	v[12] = (uint32_t)counter;
	v[13] = (uint32_t)(counter >> 32);
	v[14] = size;
	v[15] = flags;
	for (int round = 0; round < 7; round++) {
		for (int i = 0; i < 4; i++)
			b3_mix(v, i, 4 + i, 8 + i, 12 + i, words[2 * i], words[2 * i + 1]);
		for (int i = 0; i < 4; i++)
			b3_mix(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, words[8 + 2 * i], words[9 + 2 * i]);
		for (int i = 0; i < 16; i++)
			next[i] = words[order[i]];
		memcpy(words, next, sizeof next);
	}
	for (int i = 0; i < 8; i++)
		chain[i] = v[i] ^ v[i + 8];
}

static void b3_chunk(const uint8_t *data, size_t size, uint64_t index, uint32_t root, uint32_t out[8]) {
	uint32_t flags = B3_START;
	memcpy(out, hash_iv, 32);
	for (;;) {
		size_t part = size < B3_BLOCK ? size : B3_BLOCK;
		uint32_t words[16] = {0};
		for (size_t i = 0; i < part; i++)
			words[i / 4] |= (uint32_t)data[i] << 8 * (i % 4);
		data += part;
		size -= part;
		b3_compress(out, words, index, (uint32_t)part, flags | (size == 0 ? B3_END | root : 0));
		if (size == 0)
			return;
		flags = 0;
	}
}

static void b3_tree(const uint8_t *data, size_t size, uint64_t index, uint32_t root, uint32_t out[8]) {
	if (size <= B3_CHUNK) {
		b3_chunk(data, size, index, root, out);
		return;
	}
	size_t left = B3_CHUNK; // the largest power of two of chunks that leaves something for the right side
	while (left * 2 < size)
		left *= 2;
	uint32_t words[16];
	b3_tree(data, left, index, 0, words);
	b3_tree(data + left, size - left, index + left / B3_CHUNK, 0, words + 8);
	memcpy(out, hash_iv, 32);
	b3_compress(out, words, 0, B3_BLOCK, B3_PARENT | root);
}

static void blake3(const uint8_t *data, size_t size, uint8_t out[HASH_BYTES]) {
	uint32_t words[8];
	b3_tree(data, size, 0, B3_ROOT, words);
	for (int i = 0; i < HASH_BYTES; i++)
		out[i] = (uint8_t)(words[i / 4] >> 8 * (i % 4));
}

static const uint32_t sha_k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static void sha256_block(uint32_t state[8], const uint8_t *block) {
	uint32_t w[64], v[8];
	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
		       block[4 * i + 3];
	for (int i = 16; i < 64; i++) {
		uint32_t s0 = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
		uint32_t s1 = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
		w[i] = w[i - 16] + s0 + w[i - 7] + s1;
	}
	memcpy(v, state, sizeof v);
	for (int i = 0; i < 64; i++) {
		uint32_t s1 = rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25);
		uint32_t t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + sha_k[i] + w[i];
		uint32_t s0 = rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22);
		uint32_t t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
		memmove(v + 1, v, 7 * sizeof v[0]);
		v[4] += t1;
		v[0] = t1 + t2;
	}
	for (int i = 0; i < 8; i++)
		state[i] += v[i];
}

static void sha256(const uint8_t *data, size_t size, uint8_t out[HASH_BYTES]) {
	uint32_t state[8];
	uint8_t tail[128] = {0};
	size_t whole = size / 64 * 64, rest = size - whole, tail_size = rest < 56 ? 64 : 128;
	memcpy(state, hash_iv, sizeof state); // the two algorithms share it
	for (size_t at = 0; at < whole; at += 64)
		sha256_block(state, data + at);
	if (rest > 0)
		memcpy(tail, data + whole, rest);
	tail[rest] = 0x80;
	for (int i = 0; i < 8; i++)
		tail[tail_size - 1 - i] = (uint8_t)((uint64_t)size * 8 >> 8 * i);
	for (size_t at = 0; at < tail_size; at += 64)
		sha256_block(state, tail + at);
	for (int i = 0; i < HASH_BYTES; i++)
		out[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

#endif
