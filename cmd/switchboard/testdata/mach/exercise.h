/* SPDX-License-Identifier: Apache-2.0 */
/* All ten routines of the workshop, called through the client's stubs, with what must come of them. */
#ifndef EXERCISE_H
#define EXERCISE_H

#include "workshop_user.h"

#define WANT(what, got, want) (checks += wanted(what, (long)(got), (long)(want)))

static int wanted(const char *what, long got, long want)
{
	if (got != want)
		fail(what, got, want);
	return 1;
}

/* Sends a request that no stub would, and returns the code of the reply. */
static int odd_call(int port, int32_t id, size_t more, int complex)
{
	struct call c;
	call_begin(&c, complex, id);
	memset(c.m.b + c.m.n, 0, more);
	c.m.n += more;
	return call_end(&c, port, 36, 0, 0);
}

static int simple_routines(int port)
{
	int checks = 0;
	int32_t sum;
	WANT("add", user_add(port, 40, 2, &sum), 0);
	WANT("40 + 2", sum, 42);
	WANT("add", user_add(port, INT32_MIN, -1, &sum), 0);
	WANT("the smallest - 1", sum, INT32_MAX);
	char text[256];
	WANT("greet", user_greet(port, "w\xc3\xb6rld", 2, text), 0);
	WANT("greeting", strcmp(text, "Hello, w\xc3\xb6rld! Hello, w\xc3\xb6rld!"), 0);
	WANT("greet 4 times", user_greet(port, "x", 4, text), TOO_OFTEN);
	char full[65];
	memset(full, 'x', 64);
	full[64] = 0;
	WANT("greet without a NUL", user_greet(port, full, 1, text), MIG_BAD_ARGS);
	int64_t q;
	WANT("divide", user_divide(port, -7, 2, &q), 0);
	WANT("-7 / 2", q, -3);
	WANT("divide by 0", user_divide(port, 1, 0, &q), DIVISION_BY_ZERO);
	WANT("an unknown id", odd_call(port, DIVIDE + 1, 0, 0), MIG_BAD_ID);
	WANT("add, short", odd_call(port, ADD, 12, 0), MIG_BAD_ARGS);
	WANT("add, long", odd_call(port, ADD, 20, 0), MIG_BAD_ARGS);
	WANT("add, complex", odd_call(port, ADD, 16, 1), MIG_BAD_ARGS);
	return checks;
}

static int array_routines(int port)
{
	int checks = 0;
	int64_t numbers[MOST_NUMBERS + 1], sorted[MOST_NUMBERS], sum, largest;
	for (int i = 0; i <= MOST_NUMBERS; i++)
		numbers[i] = (int64_t)((uint64_t)i * 2654435761u % 1000) - 500;
	uint32_t n = MOST_NUMBERS;
	WANT("total", user_total(port, numbers, 3, &sum, &largest), 0);
	WANT("sum", sum, numbers[0] + numbers[1] + numbers[2]);
	WANT("total of nothing", user_total(port, numbers, 0, &sum, &largest), 0);
	WANT("largest of nothing", largest == INT64_MIN, 1);
	WANT("sorted", user_sorted(port, numbers, MOST_NUMBERS, sorted, &n), 0);
	WANT("count", n, MOST_NUMBERS);
	for (int i = 1; i < MOST_NUMBERS; i++)
		if (sorted[i - 1] > sorted[i])
			fail("order", i, 0);
	WANT("sorted of nothing", user_sorted(port, numbers, 0, sorted, &n), 0);
	WANT("count", n, 0);
	WANT("an array too large", user_total(port, numbers, MOST_NUMBERS + 1, &sum, &largest), -307);
	struct call c;
	call_begin(&c, 0, TOTAL);
	put_numbers(&c.m, numbers, 5);
	set32(&c.m, 32, 6);
	WANT("a count beyond the packet", call_end(&c, port, 36, 0, 0), MIG_BAD_ARGS);
	call_begin(&c, 0, TOTAL);
	put_numbers(&c.m, numbers, 5);
	set32(&c.m, 32, 0x20000005);
	WANT("a count that wraps around", call_end(&c, port, 36, 0, 0), MIG_BAD_ARGS);
	return checks;
}

static int right_routines(int port)
{
	int checks = 0, channel, sum;
	WANT("open_channel", user_open_channel(port, &channel), 0);
	WANT("add on the channel", user_add(channel, 1, 2, &sum), 0);
	WANT("1 + 2", sum, 3);
	close(channel);

	int events, to, done, finished;
	struct packet m;
	make_port(&events, &to);
	make_port(&finished, &done);
	WANT("deliver", user_deliver(port, to, done, 100), 0);
	close(to);
	close(done);
	for (uint32_t i = 0; i < 100; i++) {
		if (await_packet(events, &m) != 1 || id_of(&m) != DELIVERED || get32(&m, 32) != i)
			fail("delivered number", get32(&m, 32), i);
		drop_fds(&m);
	}
	WANT("the end of what is delivered", await_packet(events, &m), 0);
	WANT("finished", await_packet(finished, &m), 1);
	WANT("its id", id_of(&m), FINISHED);
	WANT("its count", get32(&m, 32), 100);
	WANT("the end of a reply right", await_packet(finished, &m), 0);
	close(events);
	close(finished);

	int receive, send;
	uint32_t count, total;
	make_port(&receive, &send);
	for (uint32_t i = 1; i <= 20; i++)
		if (send_number(send, NUMBERED, i, COPY_SEND, 0) < 0)
			die("send a number");
	WANT("drain", user_drain(port, receive, 15, &count, &total), 0);
	WANT("drained", count, 15);
	WANT("their sum", total, 120);
	struct pollfd gone = {.fd = send, .events = POLLOUT};
	WANT("the receive right has gone", poll(&gone, 1, PATIENCE_MS) == 1 && (gone.revents & POLLHUP), 1);
	close(send);

	struct call c;
	make_port(&receive, &send);
	call_begin(&c, 1, DRAIN);
	put32(&c.m, 1);
	put_port(&c.m, receive, COPY_SEND);
	put_ndr(&c.m);
	put32(&c.m, 1);
	WANT("a send right where a receive right is wanted", call_end(&c, port, 36, 0, 0), MIG_TYPE);
	call_begin(&c, 1, DELIVER);
	put32(&c.m, 2);
	put_port(&c.m, -1, COPY_SEND);
	put_port(&c.m, send, MAKE_SEND_ONCE);
	put_ndr(&c.m);
	put32(&c.m, 1);
	WANT("a null port", call_end(&c, port, 36, 0, 0), 17);
	close(receive);
	close(send);
	return checks;
}

static int memory_routines(int port)
{
	int checks = 0;
	static const uint32_t sizes[] = {0, 1, 4095, 4096, 4097, 70000};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		uint32_t hash;
		unsigned char *b;
		WANT("pattern", user_pattern(port, sizes[i], 77, &b), 0);
		for (size_t j = 0; j < sizes[i]; j++)
			if (b[j] != pattern_byte(77, j))
				fail("byte of a pattern", b[j], pattern_byte(77, j));
		WANT("checksum", user_checksum(port, b, sizes[i], &hash), 0);
		WANT("hash", hash, fnv1a(b, sizes[i]));
		if (sizes[i])
			munmap(b, sizes[i]);
	}
	struct call c;
	int memory = memfd_create("unsealed", MFD_CLOEXEC);
	if (memory < 0 || ftruncate(memory, 100) < 0)
		die("memfd_create");
	call_begin(&c, 1, CHECKSUM);
	put32(&c.m, 1);
	put_memory(&c.m, memory, 100);
	put_ndr(&c.m);
	put32(&c.m, 100);
	WANT("unsealed memory", call_end(&c, port, 36, 0, 0), 4);
	close(memory);
	return checks;
}

/* Everything on one port; returns how many things were looked at. */
static int exercise(int port)
{
	int32_t sum;
	int checks = simple_routines(port) + array_routines(port) + right_routines(port) + memory_routines(port);
	WANT("add, after all that", user_add(port, 1, 1, &sum), 0);
	return checks;
}

#endif
