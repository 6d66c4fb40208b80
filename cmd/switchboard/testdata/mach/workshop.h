/* SPDX-License-Identifier: Apache-2.0 */
/* A made-up subsystem of ten routines, as MIG would lay it out (little-endian, packed to 4 bytes; a reply's id is the request's and 100):
 *
 *  id    routine       request after the header                        reply after the header
 *  7100  add           NDR, a i32@32, b i32@36                         NDR, code, sum i32@36
 *  7101  greet         NDR, name[64]@32, times u32@96                  NDR, code, text[256]@36
 *  7102  total         NDR, count u32@32, count × i64@36               NDR, code, sum i64@36, largest i64@44
 *  7103  sorted        NDR, count u32@32, count × i64@36               NDR, code, count u32@36, count × i64@40
 *  7104  open_channel  -                                               1 port@28 (send right of a port that the server receives on)
 *  7105  deliver       2 ports@28,40 (send; send once), NDR,           NDR, code
 *                      count u32@60
 *  7106  drain         1 port@28 (receive), NDR, most u32@48           NDR, code, count u32@36, sum u32@40
 *  7107  checksum      1 memory@28, NDR@44, size u32@52                NDR, code, FNV-1a u32@36
 *  7108  pattern       NDR, size u32@32, seed u32@36                   1 memory@28, NDR@44, size u32@52
 *  7109  divide        NDR, a i64@32, b i64@40                         NDR, code, quotient i64@36
 *
 * deliver sends count messages 7190 (NDR, number u32@32) to the first port and one message 7191 (NDR, count u32@32) to the second. Every failure is a
 * reply of 36 bytes (NDR, code). On a port the reply right is the first descriptor, and the others follow it.
 */
#ifndef WORKSHOP_H
#define WORKSHOP_H

#include "wire.h"

enum {
	ADD = 7100, GREET, TOTAL, SORTED, OPEN_CHANNEL, DELIVER, DRAIN, CHECKSUM, PATTERN, DIVIDE,
	DELIVERED = 7190, FINISHED, /* deliver's */
	NUMBERED = 7199             /* one-way: NDR, number u32@32 */
};
enum { DIVISION_BY_ZERO = 5000, TOO_OFTEN = 5001 };
enum { MOST_NUMBERS = 512, MOST_MEMORY = 64 << 20 };

static inline uint32_t fnv1a(const unsigned char *b, size_t n)
{
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * 16777619u;
	return h;
}

static inline unsigned char pattern_byte(uint32_t seed, size_t i) { return (unsigned char)(seed + i * 7 + i / 251); }

/* Sends a one-way message with a number. */
static inline int send_number(int to, int32_t id, uint32_t number, int disposition, int flags)
{
	struct packet m;
	put_header(&m, (uint32_t)disposition, 1, 0, id);
	put_ndr(&m);
	put32(&m, number);
	return send_packet(to, &m, flags);
}

#endif
