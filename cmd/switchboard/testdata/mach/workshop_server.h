/* SPDX-License-Identifier: Apache-2.0 */
/* The server's side of workshop.h: what the routines do, a stub for each, and the dispatch in the order of MIG's servers (section 4.1). */
#ifndef WORKSHOP_SERVER_H
#define WORKSHOP_SERVER_H

#include "workshop.h"

#include <sys/mman.h>

enum { CHANNELS = 32 };

/* A server: the ports on which it receives. */
struct server {
	int port[1 + CHANNELS]; /* the service's, then those of open_channel; -1: none */
	int ports;
};

/* What the routines do; they return a code. */

static int do_greet(const char *name, uint32_t times, char text[256])
{
	if (times > 3)
		return TOO_OFTEN;
	text[0] = 0;
	for (uint32_t i = 0; i < times; i++) {
		size_t at = strlen(text);
		snprintf(text + at, 256 - at, "%sHello, %s!", i ? " " : "", name);
	}
	return 0;
}

static int by_number(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

static int do_deliver(int to, int done, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (send_number(to, DELIVERED, i, COPY_SEND, 0) < 0)
			return 5;
	return send_number(done, FINISHED, count, MOVE_SEND_ONCE, 0) < 0 ? 5 : 0;
}

static void do_drain(int receive, uint32_t most, uint32_t *count, uint32_t *sum)
{
	struct packet m;
	*count = *sum = 0;
	while (*count < most && recv_packet(receive, &m, MSG_DONTWAIT) == 1) {
		drop_fds(&m);
		++*count;
		*sum += m.n >= 36 ? get32(&m, 32) : 0;
	}
}

/* The stubs: in has been checked; out has its header, NDR and code 0, and gets the rest. They return a code. */

static int stub_add(struct server *s, struct packet *in, struct packet *out)
{
	(void)s;
	put32(out, get32(in, 32) + get32(in, 36));
	return 0;
}

static int stub_greet(struct server *s, struct packet *in, struct packet *out)
{
	char text[256] = {0};
	(void)s;
	if (!memchr(in->b + 32, 0, 64))
		return MIG_BAD_ARGS;
	int code = do_greet((char *)in->b + 32, get32(in, 96), text);
	put_field(out, text, 256);
	return code;
}

static uint32_t numbers_of(struct packet *in, int64_t numbers[MOST_NUMBERS])
{
	uint32_t count = get32(in, 32);
	for (uint32_t i = 0; i < count; i++)
		numbers[i] = (int64_t)get64(in, 36 + (size_t)i * 8);
	return count;
}

static int stub_total(struct server *s, struct packet *in, struct packet *out)
{
	int64_t numbers[MOST_NUMBERS], largest = INT64_MIN;
	uint64_t sum = 0;
	(void)s;
	uint32_t count = numbers_of(in, numbers);
	for (uint32_t i = 0; i < count; i++) {
		sum += (uint64_t)numbers[i];
		largest = numbers[i] > largest ? numbers[i] : largest;
	}
	put64(out, sum);
	put64(out, (uint64_t)largest);
	return 0;
}

static int stub_sorted(struct server *s, struct packet *in, struct packet *out)
{
	int64_t numbers[MOST_NUMBERS];
	(void)s;
	uint32_t count = numbers_of(in, numbers);
	qsort(numbers, count, sizeof *numbers, by_number);
	put32(out, count);
	for (uint32_t i = 0; i < count; i++)
		put64(out, (uint64_t)numbers[i]);
	return 0;
}

static int stub_open_channel(struct server *s, struct packet *in, struct packet *out)
{
	int send;
	(void)in;
	if (s->ports == 1 + CHANNELS)
		return 6;
	make_port(&s->port[s->ports++], &send);
	put_port(out, send, MAKE_SEND);
	return 0;
}

static int stub_deliver(struct server *s, struct packet *in, struct packet *out)
{
	(void)s, (void)out;
	int to = take_fd(in, 28), done = take_fd(in, 40);
	int code = to < 0 || done < 0 ? 17 : do_deliver(to, done, get32(in, 60));
	close(to);
	close(done);
	return code;
}

static int stub_drain(struct server *s, struct packet *in, struct packet *out)
{
	uint32_t count, sum;
	(void)s;
	int receive = take_fd(in, 28);
	if (receive < 0)
		return 17;
	do_drain(receive, get32(in, 48), &count, &sum);
	close(receive);
	put32(out, count);
	put32(out, sum);
	return 0;
}

static int stub_checksum(struct server *s, struct packet *in, struct packet *out)
{
	uint32_t size = get32(in, 52);
	(void)s;
	if (size != get32(in, 40))
		return MIG_TYPE;
	int memory = take_fd(in, 28);
	unsigned char *b = memory < 0 ? NULL : map_memory(memory, size);
	close(memory);
	if (!b)
		return 4;
	put32(out, fnv1a(b, size));
	if (size)
		munmap(b, size);
	return 0;
}

static int stub_pattern(struct server *s, struct packet *in, struct packet *out)
{
	uint32_t size = get32(in, 32), seed = get32(in, 36);
	(void)s;
	unsigned char *b = size > MOST_MEMORY ? NULL : malloc(size + 1);
	if (!b)
		return 3;
	for (uint32_t i = 0; i < size; i++)
		b[i] = pattern_byte(seed, i);
	put_memory(out, make_memory(b, size), size);
	free(b);
	put_ndr(out);
	put32(out, size);
	return 0;
}

static int stub_divide(struct server *s, struct packet *in, struct packet *out)
{
	int64_t a = (int64_t)get64(in, 32), b = (int64_t)get64(in, 40);
	(void)s;
	if (b == 0)
		return DIVISION_BY_ZERO;
	put64(out, b == -1 ? -(uint64_t)a : (uint64_t)(a / b));
	return 0;
}

/* The table of routines: exact sizes, with an array's count at 32; the descriptors that come, and whether some go. */
static const struct routine {
	int (*stub)(struct server *, struct packet *in, struct packet *out);
	size_t size;
	int array, complex_reply;
	struct { unsigned char type, from, to; } in[2]; /* kind, and the dispositions of ports that are accepted; 0 0 0: none */
} routines[] = {
	{stub_add, 40, 0, 0, {{0}}},
	{stub_greet, 100, 0, 0, {{0}}},
	{stub_total, 36, 1, 0, {{0}}},
	{stub_sorted, 36, 1, 0, {{0}}},
	{stub_open_channel, 24, 0, 1, {{0}}},
	{stub_deliver, 64, 0, 0, {{TYPE_PORT, MOVE_SEND, MAKE_SEND}, {TYPE_PORT, MOVE_SEND_ONCE, MAKE_SEND_ONCE}}},
	{stub_drain, 52, 0, 0, {{TYPE_PORT, MOVE_RECEIVE, MOVE_RECEIVE}}},
	{stub_checksum, 56, 0, 0, {{TYPE_MEMORY, 1, 1}}},
	{stub_pattern, 40, 0, 1, {{0}}},
	{stub_divide, 48, 0, 0, {{0}}},
};

/* Checks a request against its routine; 0, or a code. */
static int checked(const struct routine *r, const struct packet *in)
{
	uint32_t want = r->in[0].to ? r->in[1].to ? 2 : 1 : 0;
	size_t size = r->size;
	if (r->array) {
		uint32_t count = in->n < size ? MOST_NUMBERS + 1 : get32(in, 32);
		if (count > MOST_NUMBERS)
			return MIG_BAD_ARGS;
		size += (size_t)count * 8;
	}
	if (in->n != size || is_complex(in) != (want > 0) || (want > 0 && get32(in, 24) != want))
		return MIG_BAD_ARGS;
	for (uint32_t i = 0; i < want; i++) {
		size_t at = 28 + (size_t)i * 12;
		int d = disposition_at(in, at);
		if (type_at(in, at) != r->in[i].type)
			return MIG_TYPE;
		if (r->in[i].type == TYPE_PORT && (d < r->in[i].from || d > r->in[i].to || (r->in[i].from == MOVE_SEND && d == MOVE_SEND_ONCE)))
			return MIG_TYPE;
		if (r->in[i].type == TYPE_PORT && r->in[i].from == MOVE_SEND_ONCE && d != MOVE_SEND_ONCE && d != MAKE_SEND_ONCE)
			return MIG_TYPE;
	}
	return 0;
}

/* Answers one message on a port. Returns 0 if nobody can send there any more. */
static int serve_one(struct server *s, int port)
{
	struct packet in, out;
	int r = recv_packet(port, &in, 0);
	if (r < 0)
		die("receive on a port");
	if (r == 0)
		return 0;
	int32_t id = id_of(&in);
	uint32_t local = get32(&in, 12);
	int reply = -1, code = MIG_BAD_ID;
	if (local != 0 && in.fds > 0) {
		reply = in.fd[0];
		in.fd[0] = -1;
	}
	const struct routine *routine = id >= ADD && id <= DIVIDE ? &routines[id - ADD] : NULL;
	put_header(&out, MOVE_SEND_ONCE | (routine && routine->complex_reply ? COMPLEX : 0), local, 0, id + 100);
	if (routine && routine->complex_reply) {
		put32(&out, 1);
	} else {
		put_ndr(&out);
		put32(&out, 0);
	}
	if (routine && (code = checked(routine, &in)) == 0)
		code = routine->stub(s, &in, &out);
	if (code) {
		drop_fds(&out);
		put_header(&out, MOVE_SEND_ONCE, local, 0, id + 100);
		put_ndr(&out);
		put32(&out, (uint32_t)code);
	}
	if (reply >= 0) {
		(void)send_packet(reply, &out, MSG_DONTWAIT); /* a caller that has gone wants no reply */
		close(reply);
	}
	drop_fds(&out);
	drop_fds(&in);
	return 1;
}

/* Serves until nobody can send to the first port any more, or until the descriptor until is readable (-1: no such). */
static void serve(int port, int until)
{
	struct server s = {.port = {port}, .ports = 1};
	for (;;) {
		struct pollfd f[2 + CHANNELS];
		int n = s.ports;
		for (int i = 0; i < n; i++)
			f[i] = (struct pollfd){.fd = s.port[i], .events = POLLIN};
		f[n] = (struct pollfd){.fd = until, .events = POLLIN};
		if (poll(f, (nfds_t)n + 1, -1) < 0 && errno != EINTR)
			die("poll");
		if (f[n].revents)
			break;
		for (int i = 0; i < n; i++) {
			if (!f[i].revents || serve_one(&s, s.port[i]))
				continue;
			if (i == 0)
				goto end;
			close(s.port[i]);
			s.port[i] = -1;
		}
		for (int i = 1; i < s.ports; i++)
			if (s.port[i] < 0)
				s.port[i--] = s.port[--s.ports];
	}
end:
	for (int i = 1; i < s.ports; i++)
		close(s.port[i]);
}

#endif
