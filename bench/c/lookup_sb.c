/* SPDX-License-Identifier: Apache-2.0 */
/* Closed-loop clients of session.sock that look names up, with raw system calls.
 *
 *   lookup_sb FOLDER PREFIX SESSIONS NAMES CLIENTS SECONDS [latencies]
 *
 * FOLDER is the broker's runtime folder. The names are PREFIX.sS.nN, for S below
 * SESSIONS and N below NAMES, one at random each time. What it prints: loop.h.
 */
#define _GNU_SOURCE
#include "sb.h"

#include <stdlib.h>
#include <unistd.h>

static const char *folder, *prefix;
static uint32_t sessions, names;

struct session {
	int fd;
	uint32_t id;
	uint64_t random;
	unsigned char request[256];
	unsigned char reply[SB_PACKET];
};

static void *open_session(void)
{
	struct session *s = calloc(1, sizeof *s);
	if (!s)
		loop_die("calloc");
	s->fd = sb_session(folder);
	s->id = 1;
	s->random = 0x9e3779b97f4a7c15u * (uint64_t)getpid();
	return s;
}

/* A random number below n: xorshift. */
static uint32_t below(struct session *s, uint32_t n)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return (uint32_t)((s->random >> 32) * n >> 32);
}

/* Appends the digits of a number. */
static char *digits(char *p, uint32_t v)
{
	char room[10];
	int n = 0;
	do
		room[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n > 0)
		*p++ = room[--n];
	return p;
}

static uint64_t step(void *client)
{
	struct session *s = client;
	char name[128], *p = stpcpy(name, prefix);
	p = digits(stpcpy(p, ".s"), below(s, sessions));
	p = digits(stpcpy(p, ".n"), below(s, names));
	size_t n = sb_header(s->request, SB_REQUEST, SB_LOOK_UP, ++s->id, 0);
	n = sb_bytes(s->request, n, 1, name, (size_t)(p - name));
	n = sb_number(s->request, n, 2, SB_SERVICE);
	n = sb_exchange(s->fd, s->request, n, s->reply, sizeof s->reply);
	if (sb_find(s->reply + SB_HEADER, n - SB_HEADER, 3, NULL) == 0)
		loop_die("a look-up reply without an entry");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 7) {
		fprintf(stderr, "usage: %s FOLDER PREFIX SESSIONS NAMES CLIENTS SECONDS [latencies]\n", argv[0]);
		return 64;
	}
	folder = argv[1];
	prefix = argv[2];
	sessions = (uint32_t)atoi(argv[3]);
	names = (uint32_t)atoi(argv[4]);
	if (strlen(prefix) > 64 || !sessions || !names)
		return 64;
	struct loop l = {
		.clients = atoi(argv[5]),
		.seconds = atof(argv[6]),
		.latencies = argc > 7,
		.open = open_session,
		.step = step,
	};
	return loop_run(&l);
}
