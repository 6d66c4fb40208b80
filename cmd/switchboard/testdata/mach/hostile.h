/* SPDX-License-Identifier: Apache-2.0 */
/* What nobody should send to the broker, so many times:
 *
 *   short      packets of 0 to 23 bytes
 *   sizes      packets whose msgh_size is another, and packets as large as the socket takes
 *   fds        more descriptors than a message names, or fewer, up to 253
 *   alien      rights that are no SEQPACKET sockets; they are answered, with code 17
 *   garbage    random bytes behind a header that is right
 *   flood      requests without end, and no reply is read; the connections stay until the input ends
 *   rights     a flood of look-ups, whose replies bring descriptors that nobody takes
 *   idle       connections that say nothing, until the input ends; those that the broker takes
 *   port       garbage on a bootstrap port, which then still has to work
 *   create     services that are created and never checked in; undeclared when the input ends
 *   stuff      as many descriptors on the way as a user may have, and nothing to the broker, until the input ends
 *   requests   requests to be told of the death of ports that live, until the input ends
 *
 * Printed is {"closed":N,"answered":N}: how often the broker hung up, and how often it replied; of create and requests, {"granted":N,"refused":N}
 * with "ready" behind it.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "bootstrap.h"

#include <sys/resource.h>

struct outcome { long closed, answered; };

/* Reads what comes until nothing is left; wait says that something must come. */
static void outcome_of(struct bootstrap *b, struct outcome *o, int wait)
{
	for (;;) {
		int r = wait ? await_packet(b->fd, &b->m) : recv_packet(b->fd, &b->m, MSG_DONTWAIT);
		if (r < 0 && errno == EAGAIN)
			return;
		if (r < 0 && errno != EPIPE)
			die("await what the broker does");
		if (r <= 0) {
			o->closed++;
			return;
		}
		drop_fds(&b->m);
		o->answered++;
		wait = 0;
	}
}

static void well_formed(struct bootstrap *b, size_t size, int32_t id)
{
	bs_begin(b, 0, id);
	memset(b->m.b + 24, 0, size - 24);
	memcpy(b->m.b + 24, wire_ndr, 8);
	memcpy(b->m.b + 32, "com.example.hostile", 19);
	b->m.n = size;
}

static void send_short(struct bootstrap *b, int i, struct outcome *o)
{
	well_formed(b, 160, 404);
	set32(&b->m, 4, (uint32_t)i % 24);
	send_raw(b->fd, b->m.b, (size_t)i % 24, NULL, 0, 0);
	outcome_of(b, o, 1);
}

static void send_sizes(struct bootstrap *b, int i, struct outcome *o)
{
	static unsigned char large[200000];
	well_formed(b, 160, 404);
	if (i % 2) {
		set32(&b->m, 4, i % 4 == 1 ? 0xffffffffu : 161);
		send_raw(b->fd, b->m.b, 160, NULL, 0, 0);
	} else {
		set32(&b->m, 4, sizeof large);
		memcpy(large, b->m.b, 160);
		send_raw(b->fd, large, sizeof large, NULL, 0, 0);
	}
	outcome_of(b, o, 1);
}

static void send_fds(struct bootstrap *b, int i, struct outcome *o)
{
	int fd[WIRE_FDS], count = i % 3 == 0 ? WIRE_FDS : 1 + i % 7, receive, send;
	make_port(&receive, &send);
	for (int j = 0; j < count; j++)
		fd[j] = j % 2 ? receive : send;
	well_formed(b, 176, i % 2 ? 403 : 404);
	if (i % 2) { /* one is named, count come */
		set32(&b->m, 0, get32(&b->m, 0) | COMPLEX);
		set32(&b->m, 24, i % 4 == 1 ? 1 : 12);
		count += count == 1 && i % 4 == 1;
	}
	set32(&b->m, 4, 176);
	if (send_raw(b->fd, b->m.b, 176, fd, count, 0) < 0)
		die("send descriptors");
	outcome_of(b, o, 1);
	close(receive);
	close(send);
}

static int alien(int i)
{
	int s[2] = {-1, -1}, fd = -1;
	switch (i % 7) {
	case 0:
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	case 1:
		return pipe(s) < 0 ? -1 : (close(s[1]), s[0]);
	case 2:
		return memfd_create("alien", MFD_CLOEXEC);
	case 3:
	case 4:
		return socketpair(AF_UNIX, i % 7 == 3 ? SOCK_STREAM : SOCK_DGRAM, 0, s) < 0 ? -1 : (close(s[1]), s[0]);
	case 5:
		return socket(AF_INET, SOCK_STREAM, 0);
	}
	struct sockaddr_un any = {.sun_family = AF_UNIX}; /* a listening socket */
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any.sun_family) < 0 || listen(fd, 1) < 0)
		return -1;
	return fd;
}

static void send_alien(struct bootstrap *b, int i, struct outcome *o)
{
	int fd = alien(i);
	if (fd < 0)
		die("make a descriptor");
	int code = i % 2 ? bs_register(b, OLD, "com.example.alien", 0, fd) : bs_subset(b, OLD, fd, &(int){0});
	if (code != 17)
		fail("code for a right that is no port", code, 17);
	o->answered++;
	close(fd);
}

static void send_garbage(struct bootstrap *b, int i, struct outcome *o)
{
	static const struct { int32_t id; size_t size; } forms[] = {{400, 164}, {401, 180}, {402, 160}, {403, 176}, {404, 188}, {405, 56}, {409, 40},
								    {436, 24}, {702, 64}, {710, 40}, {711, 64}, {0, 24}};
	static uint64_t random = 0x9e3779b97f4a7c15u;
	int form = i % 12;
	bs_begin(b, i / 12 % 2, forms[form].id);
	for (b->m.n = 24; b->m.n < forms[form].size;) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		put32(&b->m, b->m.n == 24 && i % 3 ? 1 : (uint32_t)random);
	}
	b->m.n = forms[form].size;
	if (send_packet(b->fd, &b->m, 0) < 0)
		die("send garbage");
	outcome_of(b, o, 1);
}

/* Sends garbage to a bootstrap port and then connects through it. */
static void send_port(struct bootstrap *b, int i, struct outcome *o)
{
	static struct bootstrap through;
	int requestor, kept, port, unused, fd[WIRE_FDS];
	make_port(&requestor, &kept);
	int code = bs_subset(b, OLD, kept, &port);
	if (code)
		fail("subset", code, 0);
	for (int j = 0; j < 20; j++) {
		int most = geteuid() == 0 ? WIRE_FDS : 8; /* more would keep the user's other programs from sending any */
		int fds = (i + j) % 4 == 0 ? most : (i + j) % 4, receive, send;
		make_port(&receive, &send);
		for (int k = 0; k < fds; k++)
			fd[k] = k % 2 ? receive : kept;
		well_formed(b, j % 3 ? 40 : 160, j % 5 ? 710 : 404);
		set32(&b->m, 0, (j % 2 ? COMPLEX : 0) | 0x1513);
		set32(&b->m, 4, j % 7 ? (uint32_t)b->m.n : 0xffffff);
		set32(&b->m, 12, j % 3 ? 0 : 1);
		set32(&b->m, 24, j % 2 ? 1 + (uint32_t)j / 10 : 0);
		set32(&b->m, 28, (uint32_t)j % 4);
		set32(&b->m, 36, (uint32_t)(16 + j % 7) << 16);
		if (send_raw(port, b->m.b, j % 11 ? b->m.n : 7, fd, fds, 0) < 0 && errno != EPIPE)
			die("send garbage to a bootstrap port");
		close(receive);
		close(send);
	}
	bs_through(&through, port);
	if ((code = bs_look_up(&through, OLD, "com.example.nobody", 0, 0, NULL, &unused)) != UNKNOWN_SERVICE)
		fail("look_up through a bootstrap port", code, UNKNOWN_SERVICE);
	o->answered++;
	close(through.fd);
	close(port);
	close(kept);
	close(requestor);
}

/* Puts as many descriptors on the way as a user may have, in sockets of its own. */
static void stuff(void)
{
	int receive, send, fd[WIRE_FDS];
	for (int pairs = 0; pairs < 300; pairs++) {
		make_port(&receive, &send);
		for (int i = 0; i < WIRE_FDS; i++)
			fd[i] = 0;
		for (int fds = WIRE_FDS; fds > 0;) {
			if (send_raw(send, "x", 1, fd, fds, MSG_DONTWAIT) == 0)
				continue;
			if (errno == EAGAIN)
				break;
			if (errno != ETOOMANYREFS)
				die("send to oneself");
			return;
		}
	}
}

static void until_input_ends(void)
{
	char line[16];
	puts("ready");
	fflush(stdout);
	if (fgets(line, sizeof line, stdin))
		puts("{}");
}

static int create_many(struct bootstrap *b, int count)
{
	int granted = 0, refused = 0, code, send;
	char name[64];
	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof name, "com.example.created.%d", i);
		code = bs_create_service(b, name, &send);
		if (code != 0 && code != NO_MEMORY)
			fail("create_service", code, NO_MEMORY);
		if (code == 0)
			close(send);
		*(code ? &refused : &granted) += 1;
	}
	printf("{\"granted\":%d,\"refused\":%d}\n", granted, refused);
	until_input_ends();
	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof name, "com.example.created.%d", i);
		if ((code = bs_register(b, OLD, name, 0, -1)) != 0)
			fail("undeclare", code, 0);
	}
	return 0;
}

static int request_many(struct bootstrap *b, int count)
{
	int granted = 0, refused = 0, receive, send, told, notify;
	make_port(&receive, &send);
	make_port(&told, &notify);
	for (int i = 0; i < count; i++) {
		bs_begin(b, 1, 711);
		put32(&b->m, 2);
		put_port(&b->m, send, COPY_SEND);
		put_port(&b->m, notify, COPY_SEND);
		put_ndr(&b->m);
		put32(&b->m, 72);
		int code = bs_end(b, 36, 0);
		if (code != 0 && code != NO_MEMORY)
			fail("notify", code, NO_MEMORY);
		*(code ? &refused : &granted) += 1;
	}
	printf("{\"granted\":%d,\"refused\":%d}\n", granted, refused);
	until_input_ends();
	return 0;
}

/* Sends until the broker reads no more. */
static void flood(struct bootstrap *b, const char *name)
{
	for (int waits = 0; waits < 20;) {
		well_formed(b, 160, 404);
		memset(b->m.b + 32, 0, 128);
		memcpy(b->m.b + 32, name, strlen(name));
		set32(&b->m, 4, 160);
		if (send_raw(b->fd, b->m.b, 160, NULL, 0, MSG_DONTWAIT) == 0)
			continue;
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			return; /* hung up */
		struct pollfd f = {.fd = b->fd, .events = POLLOUT};
		waits = poll(&f, 1, 5) == 0 ? waits + 1 : 0;
	}
}

static int hostile(const char *path, const char *kind, int count)
{
	static struct bootstrap b;
	static const struct { const char *kind; void (*send)(struct bootstrap *, int, struct outcome *); } kinds[] = {
		{"short", send_short}, {"sizes", send_sizes}, {"fds", send_fds}, {"alien", send_alien}, {"garbage", send_garbage},
		{"port", send_port}};
	struct outcome o = {0};
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		if (strcmp(kind, kinds[k].kind))
			continue;
		for (int i = 0; i < count; i++) {
			bs_open(&b, path);
			kinds[k].send(&b, i, &o);
			close(b.fd);
		}
		printf("{\"closed\":%ld,\"answered\":%ld}\n", o.closed, o.answered);
		return 0;
	}
	int receive;
	if (!strcmp(kind, "create") || !strcmp(kind, "requests")) {
		bs_open(&b, path);
		return !strcmp(kind, "create") ? create_many(&b, count) : request_many(&b, count);
	}
	if (!strcmp(kind, "stuff")) {
		stuff();
		until_input_ends();
		return 0;
	}
	if (!strcmp(kind, "rights")) {
		static struct bootstrap owner;
		bs_open(&owner, path);
		int code = bs_check_in(&owner, OLD, "com.example.flooded", 0, &receive, NULL);
		if (code)
			fail("check_in", code, 0);
	} else if (strcmp(kind, "flood") && strcmp(kind, "idle")) {
		return 64;
	}
	struct rlimit files; /* the usual limit is below what is opened here */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	for (int i = 0; i < count; i++) {
		bs_open(&b, path);
		if (strcmp(kind, "idle"))
			flood(&b, !strcmp(kind, "rights") ? "com.example.flooded" : "com.example.nobody");
	}
	until_input_ends();
	return 0;
}

#endif
