/* SPDX-License-Identifier: Apache-2.0 */
/* The session protocol as a few inline functions: docs/session.md, sections 3 and 4.
 *
 * Enough for a client that looks names up and for an owner that takes
 * connections over; protobuf is written and read by hand. Strings are short
 * (below 128 bytes), so every length is one byte.
 */
#ifndef SB_H
#define SB_H

#include "loop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

enum { SB_REQUEST = 1, SB_REPLY, SB_EVENT, SB_ONE_WAY };
enum { SB_HELLO = 1, SB_LOOK_UP = 2, SB_CLAIM = 3, SB_TAKEN = 32, SB_HAND_OVER = 64 };
enum { SB_HEADER = 16, SB_PACKET = 32768, SB_SERVICE = 1 };

/* Writes a header; the integers are little-endian, as this machine's must be. */
static inline size_t sb_header(unsigned char *p, int kind, int op, uint32_t id, uint64_t sequence)
{
	p[0] = 1;
	p[1] = (unsigned char)kind;
	p[2] = (unsigned char)op;
	p[3] = 0;
	memcpy(p + 4, &id, 4);
	memcpy(p + 8, &sequence, 8);
	return SB_HEADER;
}

/* Appends a field of bytes. */
static inline size_t sb_bytes(unsigned char *p, size_t n, int field, const void *bytes, size_t len)
{
	p[n++] = (unsigned char)(field << 3 | 2);
	p[n++] = (unsigned char)len;
	memcpy(p + n, bytes, len);
	return n + len;
}

/* Appends a field that is a number. */
static inline size_t sb_number(unsigned char *p, size_t n, int field, uint64_t v)
{
	p[n++] = (unsigned char)(field << 3);
	for (; v >= 0x80; v >>= 7)
		p[n++] = (unsigned char)(v | 0x80);
	p[n++] = (unsigned char)v;
	return n;
}

/* Reads a varint and moves *p behind it. */
static inline uint64_t sb_varint(const unsigned char **p, const unsigned char *end)
{
	uint64_t v = 0;
	for (int shift = 0; *p < end && shift < 64; shift += 7) {
		unsigned char b = *(*p)++;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80)
			return v;
	}
	loop_die("a payload that does not decode");
}

/* Finds a field: a number is returned, of bytes the length, with *bytes at their start. 0 if it is absent. */
static inline uint64_t sb_find(const unsigned char *p, size_t n, unsigned field, const unsigned char **bytes)
{
	const unsigned char *end = p + n;
	while (p < end) {
		uint64_t tag = sb_varint(&p, end), v = sb_varint(&p, end);
		int is_bytes = (tag & 7) == 2;
		if (tag >> 3 == field) {
			if (bytes)
				*bytes = p;
			return v;
		}
		if (is_bytes)
			p += v;
	}
	return 0;
}

/* Sends a request and reads its reply into in; returns the reply's size. Ends the process unless the code is 0. */
static inline size_t sb_exchange(int fd, const unsigned char *out, size_t n, unsigned char *in, size_t room)
{
	if (send(fd, out, n, MSG_NOSIGNAL) != (ssize_t)n)
		loop_die("cannot send a request");
	ssize_t r = recv(fd, in, room, 0);
	if (r < SB_HEADER || in[1] != SB_REPLY || memcmp(in + 4, out + 4, 4) != 0)
		loop_die("not the reply to operation %d: %zd bytes, kind %d", out[2], r, r > 1 ? in[1] : -1);
	uint64_t code = 0;
	if (r > SB_HEADER && in[SB_HEADER] == 0x08) /* code is field 1, and comes first */
		code = sb_find(in + SB_HEADER, (size_t)r - SB_HEADER, 1, NULL);
	if (code != 0) {
		const unsigned char *text = NULL;
		int len = (int)sb_find(in + SB_HEADER, (size_t)r - SB_HEADER, 2, &text);
		loop_die("operation %d: ERR %llu %.*s", out[2], (unsigned long long)code, len, text ? (const char *)text : "");
	}
	return (size_t)r;
}

/* Opens a session on session.sock in the folder. */
static inline int sb_session(const char *folder)
{
	char path[256];
	unsigned char out[128], in[SB_PACKET], id[16];
	snprintf(path, sizeof path, "%s/session.sock", folder);
	int fd = loop_unix(path, SOCK_SEQPACKET);
	if (fd < 0)
		loop_die("connect %s", path);
	if (getrandom(id, sizeof id, 0) != sizeof id)
		loop_die("getrandom");
	size_t n = sb_header(out, SB_REQUEST, SB_HELLO, 1, 0);
	n = sb_bytes(out, n, 1, id, sizeof id);
	n = sb_bytes(out, n, 2, "bench", 5);
	sb_exchange(fd, out, n, in, sizeof in);
	return fd;
}

#endif
