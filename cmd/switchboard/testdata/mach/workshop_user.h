/* SPDX-License-Identifier: Apache-2.0 */
/* The client's stubs of workshop.h. Each returns 0, a code of MIG's (-300 …), or one of the server's. */
#ifndef WORKSHOP_USER_H
#define WORKSHOP_USER_H

#include "workshop.h"

/* A call: the request, then its reply. */
struct call {
	int reply; /* our end of the reply port */
	int theirs;
	struct packet m;
};

enum { REPLY_TOKEN = 0x2001 };

static inline void call_begin(struct call *c, int complex, int32_t id)
{
	make_port(&c->reply, &c->theirs);
	put_header(&c->m, (complex ? COMPLEX : 0) | MAKE_SEND_ONCE << 8 | COPY_SEND, 1, REPLY_TOKEN, id);
	c->m.fd[c->m.fds++] = c->theirs;
}

/* Sends and awaits the reply, which must have exactly want bytes, or more if they are an array's. */
static inline int call_end(struct call *c, int port, size_t want, int complex, int array)
{
	int32_t id = id_of(&c->m);
	int sent = send_packet(port, &c->m, 0);
	close(c->theirs);
	int r = sent < 0 ? 0 : await_packet(c->reply, &c->m);
	close(c->reply);
	if (r < 0)
		die("await a reply on a port");
	if (r == 0 || id_of(&c->m) == 71)
		return MIG_DIED;
	if (id_of(&c->m) != id + 100 || get32(&c->m, 8) != REPLY_TOKEN) {
		drop_fds(&c->m);
		return MIG_REPLY;
	}
	if (c->m.n == 36 && !is_complex(&c->m) && (get32(&c->m, 32) != 0 || want == 36))
		return (int)get32(&c->m, 32);
	if (is_complex(&c->m) != complex || c->m.n < want || (c->m.n > want && !array)) {
		drop_fds(&c->m);
		return MIG_TYPE;
	}
	return complex ? 0 : (int)get32(&c->m, 32);
}

static inline int user_add(int port, int32_t a, int32_t b, int32_t *sum)
{
	struct call c;
	call_begin(&c, 0, ADD);
	put_ndr(&c.m);
	put32(&c.m, (uint32_t)a);
	put32(&c.m, (uint32_t)b);
	int code = call_end(&c, port, 40, 0, 0);
	if (!code)
		*sum = (int32_t)get32(&c.m, 36);
	return code;
}

static inline int user_greet(int port, const char *name, uint32_t times, char text[256])
{
	struct call c;
	call_begin(&c, 0, GREET);
	put_ndr(&c.m);
	put_field(&c.m, name, 64);
	put32(&c.m, times);
	int code = call_end(&c, port, 292, 0, 0);
	if (code)
		return code;
	if (!memchr(c.m.b + 36, 0, 256))
		return MIG_TYPE;
	memcpy(text, c.m.b + 36, 256);
	return 0;
}

static inline void put_numbers(struct packet *p, const int64_t *numbers, uint32_t count)
{
	put_ndr(p);
	put32(p, count);
	for (uint32_t i = 0; i < count; i++)
		put64(p, (uint64_t)numbers[i]);
}

static inline int user_total(int port, const int64_t *numbers, uint32_t count, int64_t *sum, int64_t *largest)
{
	struct call c;
	if (count > MOST_NUMBERS)
		return -307;
	call_begin(&c, 0, TOTAL);
	put_numbers(&c.m, numbers, count);
	int code = call_end(&c, port, 52, 0, 0);
	if (!code) {
		*sum = (int64_t)get64(&c.m, 36);
		*largest = (int64_t)get64(&c.m, 44);
	}
	return code;
}

static inline int user_sorted(int port, const int64_t *numbers, uint32_t count, int64_t *sorted, uint32_t *sorted_count)
{
	struct call c;
	if (count > MOST_NUMBERS)
		return -307;
	call_begin(&c, 0, SORTED);
	put_numbers(&c.m, numbers, count);
	int code = call_end(&c, port, 40, 0, 1);
	if (code)
		return code;
	uint32_t n = get32(&c.m, 36);
	if (n > *sorted_count || c.m.n != 40 + (size_t)n * 8)
		return MIG_TYPE;
	for (uint32_t i = 0; i < n; i++)
		sorted[i] = (int64_t)get64(&c.m, 40 + (size_t)i * 8);
	*sorted_count = n;
	return 0;
}

static inline int user_open_channel(int port, int *channel)
{
	struct call c;
	call_begin(&c, 0, OPEN_CHANNEL);
	int code = call_end(&c, port, 40, 1, 0);
	if (code)
		return code;
	*channel = -1;
	if (get32(&c.m, 24) == 1 && type_at(&c.m, 28) == TYPE_PORT && disposition_at(&c.m, 28) == MAKE_SEND && c.m.fds == 1)
		*channel = take_fd(&c.m, 28);
	drop_fds(&c.m);
	return *channel < 0 ? MIG_TYPE : 0;
}

/* Keeps both rights. */
static inline int user_deliver(int port, int to, int done, uint32_t count)
{
	struct call c;
	call_begin(&c, 1, DELIVER);
	put32(&c.m, 2);
	put_port(&c.m, to, COPY_SEND);
	put_port(&c.m, done, MAKE_SEND_ONCE);
	put_ndr(&c.m);
	put32(&c.m, count);
	return call_end(&c, port, 36, 0, 0);
}

/* Gives the receive right away, if it can be sent. */
static inline int user_drain(int port, int receive, uint32_t most, uint32_t *count, uint32_t *sum)
{
	struct call c;
	call_begin(&c, 1, DRAIN);
	put32(&c.m, 1);
	put_port(&c.m, receive, MOVE_RECEIVE);
	put_ndr(&c.m);
	put32(&c.m, most);
	int code = call_end(&c, port, 44, 0, 0);
	if (code != MIG_DIED)
		close(receive);
	if (!code) {
		*count = get32(&c.m, 36);
		*sum = get32(&c.m, 40);
	}
	return code;
}

static inline int user_checksum(int port, const void *bytes, uint32_t size, uint32_t *hash)
{
	struct call c;
	int memory = make_memory(bytes, size);
	call_begin(&c, 1, CHECKSUM);
	put32(&c.m, 1);
	put_memory(&c.m, memory, size);
	put_ndr(&c.m);
	put32(&c.m, size);
	int code = call_end(&c, port, 40, 0, 0);
	close(memory);
	if (!code)
		*hash = get32(&c.m, 36);
	return code;
}

/* The bytes are to be unmapped. */
static inline int user_pattern(int port, uint32_t size, uint32_t seed, unsigned char **bytes)
{
	struct call c;
	call_begin(&c, 0, PATTERN);
	put_ndr(&c.m);
	put32(&c.m, size);
	put32(&c.m, seed);
	int code = call_end(&c, port, 56, 1, 0);
	if (code)
		return code;
	*bytes = NULL;
	if (get32(&c.m, 24) == 1 && type_at(&c.m, 28) == TYPE_MEMORY && get32(&c.m, 40) == size && get32(&c.m, 52) == size && c.m.fds == 1) {
		int memory = take_fd(&c.m, 28);
		*bytes = map_memory(memory, size);
		close(memory);
	}
	drop_fds(&c.m);
	return *bytes ? 0 : MIG_TYPE;
}

static inline int user_divide(int port, int64_t a, int64_t b, int64_t *quotient)
{
	struct call c;
	call_begin(&c, 0, DIVIDE);
	put_ndr(&c.m);
	put64(&c.m, (uint64_t)a);
	put64(&c.m, (uint64_t)b);
	int code = call_end(&c, port, 44, 0, 0);
	if (!code)
		*quotient = (int64_t)get64(&c.m, 36);
	return code;
}

#endif
