/* SPDX-License-Identifier: Apache-2.0 */
/* A walk through the bootstrap calls of each dialect: what each answers, and what can then be sent to whom. The names begin with a prefix of the walk's own. */
#ifndef DIALECTS_H
#define DIALECTS_H

#include "bootstrap.h"
#include "exercise.h"

#include <time.h>

static const enum dialect that_check_in[] = {SEED, OLD, NEWEST};

/* A name that stays until four more have been made. */
static const char *named(const char *prefix, const char *what, int number)
{
	static char room[4][128];
	static int next;
	char *s = room[next++ % 4];
	snprintf(s, 128, "%s.%s.%d", prefix, what, number);
	return s;
}

/* Sees that what is sent to one end arrives at the other. */
static int connected(int send, int receive)
{
	static uint32_t number;
	struct packet m;
	int checks = 0;
	WANT("send", send_number(send, NUMBERED, ++number, COPY_SEND, 0), 0);
	WANT("receive", await_packet(receive, &m), 1);
	WANT("what arrived", get32(&m, 32), number);
	return checks;
}

/* Looks up until it is answered with a code: what the kernel tells the broker takes a moment. */
static int becomes(struct bootstrap *b, const char *name, int want)
{
	int code = -1, send;
	for (int i = 0; i < PATIENCE_MS && code != want; i++) {
		struct timespec ms = {.tv_nsec = 1000000};
		code = bs_look_up(b, OLD, name, 0, 0, NULL, &send);
		if (code == 0)
			close(send);
		nanosleep(&ms, NULL);
	}
	if (code != want)
		fail("a look_up in the end", code, want);
	return 1;
}

static int look_up_everywhere(struct bootstrap *b, const char *name, int want, int receive)
{
	int checks = 0, send;
	for (int d = 0; d < DIALECTS; d++) {
		WANT("look_up", bs_look_up(b, (enum dialect)d, name, 0, 0, NULL, &send), want);
		if (want == 0) {
			checks += connected(send, receive);
			close(send);
		}
	}
	return checks;
}

static int check_ins(struct bootstrap *b, struct bootstrap *other, const char *prefix)
{
	int checks = 0, receive, again, unused;
	unsigned char uuid[16], wrong[16] = {1};
	for (int i = 0; i < 3; i++) {
		const char *name = named(prefix, "check_in", i);
		checks += look_up_everywhere(b, name, UNKNOWN_SERVICE, -1);
		WANT("check_in", bs_check_in(b, that_check_in[i], name, 0, &receive, uuid), 0);
		checks += look_up_everywhere(b, name, 0, receive) + look_up_everywhere(other, name, 0, receive);
		for (int j = 0; j < 3; j++) {
			WANT("check_in again", bs_check_in(b, that_check_in[j], name, 0, &again, NULL), SERVICE_ACTIVE);
			WANT("check_in of another", bs_check_in(other, that_check_in[j], name, 0, &again, NULL), SERVICE_ACTIVE);
		}
		for (int d = 0; d < DIALECTS; d++)
			WANT("register of an active name", bs_register(other, (enum dialect)d, name, 0, receive), NAME_IN_USE);
		WANT("create_service of an active name", bs_create_service(other, name, &unused), NAME_IN_USE);
		if (that_check_in[i] == NEWEST) {
			WANT("look_up of the instance", bs_look_up(b, NEWEST, name, 0, 32, uuid, &again), 0);
			close(again);
			WANT("look_up of another instance", bs_look_up(b, NEWEST, name, 0, 32, wrong, &again), UNKNOWN_SERVICE);
		}
		close(receive);
	}
	WANT("strict check_in", bs_check_in(b, NEWEST, named(prefix, "strict", 0), 64, &receive, NULL), UNKNOWN_SERVICE);
	WANT("check_in of NAME~1", bs_check_in(b, OLD, named(prefix, "a~", 1) /* PREFIX.a~.1 is no such name */, 0, &receive, NULL), 0);
	close(receive);
	char tilde[128];
	snprintf(tilde, sizeof tilde, "%s~17", prefix);
	WANT("check_in of NAME~17", bs_check_in(b, OLD, tilde, 0, &receive, NULL), MIG_BAD_ARGS);
	return checks;
}

static int registers(struct bootstrap *b, struct bootstrap *other, const char *prefix)
{
	int checks = 0, receive, send, again;
	for (int d = 0; d < DIALECTS; d++) {
		const char *name = named(prefix, "register", d);
		make_port(&receive, &send);
		WANT("register", bs_register(b, (enum dialect)d, name, 0, send), 0);
		checks += look_up_everywhere(other, name, 0, receive);
		WANT("register again", bs_register(b, (enum dialect)d, name, 0, send), NAME_IN_USE);
		WANT("check_in of a registered name", bs_check_in(other, OLD, name, 0, &again, NULL), SERVICE_ACTIVE);
		close(send);
		close(receive);
		checks += becomes(b, name, UNKNOWN_SERVICE);
		WANT("register of a dead right", bs_register(b, (enum dialect)d, name, 0, -2), 0);
		checks += becomes(b, name, UNKNOWN_SERVICE);
		WANT("register of null, of no such name", bs_register(b, (enum dialect)d, name, 0, -1), 0);
	}
	make_port(&receive, &send);
	const char *name = named(prefix, "mine", 0);
	WANT("register for this process", bs_register(b, NEWEST, name, 1, send), 0);
	WANT("look_up of this process' name", bs_look_up(other, NEWEST, name, getpid(), 1, NULL, &again), 0);
	checks += connected(again, receive);
	close(again);
	WANT("look_up of it, 172 bytes", bs_look_up(other, NEW, name, getpid(), 1, NULL, &again), 0);
	close(again);
	WANT("look_up of another process' name", bs_look_up(other, NEWEST, name, 1, 1, NULL, &again), UNKNOWN_SERVICE);
	WANT("look_up of everybody's name", bs_look_up(other, OLD, name, 0, 0, NULL, &again), UNKNOWN_SERVICE);
	close(send);
	close(receive);

	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	WANT("register of a file", bs_register(b, OLD, named(prefix, "file", 0), 0, null), 17);
	close(null);
	make_port(&receive, &send);
	name = named(prefix, "silent", 0);
	put_header(&b->m, COMPLEX | COPY_SEND, 1, 0, 403); /* wants no reply */
	put32(&b->m, 1);
	put_port(&b->m, send, COPY_SEND);
	put_ndr(&b->m);
	put_field(&b->m, name, 128);
	WANT("register without a reply", send_packet(b->fd, &b->m, 0), 0);
	checks += look_up_everywhere(b, name, 0, receive);
	close(send);
	close(receive);
	return checks;
}

static int created(struct bootstrap *b, struct bootstrap *other, const char *prefix)
{
	int checks = 0, send, receive, again;
	const char *name = named(prefix, "created", 0);
	WANT("create_service", bs_create_service(b, name, &send), 0);
	WANT("send before anybody checks in", send_number(send, NUMBERED, 4711, COPY_SEND, 0), 0);
	WANT("create_service again", bs_create_service(other, name, &again), NAME_IN_USE);
	make_port(&receive, &again);
	WANT("register of what the broker holds", bs_register(b, OLD, name, 0, again), NOT_PRIVILEGED);
	close(receive);
	close(again);
	WANT("look_up of an inactive name", bs_look_up(other, SEED, name, 0, 0, NULL, &again), 0);
	close(again);
	WANT("check_in of what another created", bs_check_in(other, OLD, name, 0, &receive, NULL), 0);
	struct packet m;
	WANT("what was sent before", await_packet(receive, &m), 1);
	WANT("its number", get32(&m, 32), 4711);
	checks += connected(send, receive);
	close(send);
	close(receive);
	name = named(prefix, "created", 1);
	WANT("create_service", bs_create_service(b, name, &send), 0);
	WANT("register of null", bs_register(b, OLD, name, 0, -1), 0);
	WANT("look_up of what is no more", bs_look_up(b, OLD, name, 0, 0, NULL, &again), UNKNOWN_SERVICE);
	close(send);
	return checks;
}

static int arrays(struct bootstrap *b, const char *prefix)
{
	int checks = 0, receive, ports[32], all;
	const char *name = named(prefix, "array", 0), *names[21];
	WANT("check_in", bs_check_in(b, OLD, name, 0, &receive, NULL), 0);
	for (int i = 0; i < 21; i++)
		names[i] = name;
	WANT("look_up_array of 20", bs_look_up_array(b, names, 20, ports, &all), 0);
	WANT("all known", all, 1);
	for (int i = 0; i < 20; i++) {
		checks += connected(ports[i], receive);
		close(ports[i]);
	}
	names[1] = named(prefix, "nobody", 0);
	WANT("look_up_array of 3", bs_look_up_array(b, names, 3, ports, &all), 0);
	WANT("all known", all, 0);
	WANT("an unknown one", ports[1], -1);
	checks += connected(ports[2], receive);
	close(ports[0]);
	close(ports[2]);
	WANT("look_up_array of 21", bs_look_up_array(b, names, 21, ports, &all), BAD_COUNT);

	bs_begin(b, 0, 408);
	WANT("info", bs_end(b, 96, 1), 0);
	uint32_t n = get32(&b->m, 84), found = 0;
	WANT("as many states as names", get32(&b->m, 92), n);
	WANT("size of the names", get32(&b->m, 40), n * 128);
	int memory = take_fd(&b->m, 28), states = take_fd(&b->m, 60);
	const char *field = map_memory(memory, n * 128);
	const uint32_t *state = map_memory(states, n * 4);
	if (!field || !state)
		die("memory of info");
	for (uint32_t i = 0; i < n; i++)
		if (!strcmp(field + i * 128, name))
			found = state[i];
	WANT("the state of an active name", found, 1);
	munmap((void *)field, n * 128);
	munmap((void *)state, n * 4);
	close(memory);
	close(states);
	drop_fds(&b->m);
	close(receive);
	return checks;
}

static int subsets(struct bootstrap *b, const char *prefix)
{
	static struct bootstrap inside, above;
	int checks = 0, requestor, kept, port, outer, inner, unused, send;
	const char *shared = named(prefix, "shared", 0), *private = named(prefix, "private", 0);
	WANT("check_in", bs_check_in(b, OLD, shared, 0, &outer, NULL), 0);
	for (int d = SEED; d <= OLD; d += OLD - SEED) {
		make_port(&requestor, &kept);
		WANT("subset", bs_subset(b, (enum dialect)d, kept, &port), 0);
		bs_through(&inside, port);
		close(port);
		checks += look_up_everywhere(&inside, shared, 0, outer);
		WANT("strict look_up", bs_look_up(&inside, NEWEST, shared, 0, 128, NULL, &unused), UNKNOWN_SERVICE);
		WANT("check_in of a private name", bs_check_in(&inside, OLD, private, 0, &inner, NULL), 0);
		WANT("look_up of it from outside", bs_look_up(b, OLD, private, 0, 0, NULL, &unused), UNKNOWN_SERVICE);
		close(inner);
		WANT("check_in of a name that is above", bs_check_in(&inside, OLD, shared, 0, &inner, NULL), 0);
		checks += look_up_everywhere(&inside, shared, 0, inner) + look_up_everywhere(b, shared, 0, outer);
		close(inner);
		WANT("parent", bs_parent(&inside, (enum dialect)d, &port), 0);
		bs_through(&above, port);
		close(port);
		checks += look_up_everywhere(&above, shared, 0, outer);
		close(above.fd);
		WANT("get_root", bs_root(&inside, &port), 0);
		bs_through(&above, port);
		close(port);
		checks += look_up_everywhere(&above, shared, 0, outer);
		close(above.fd);
		close(requestor); /* the requestor port dies */
		int code = 0;
		for (int i = 0; i < PATIENCE_MS && code != NOT_PRIVILEGED; i++) {
			struct timespec ms = {.tv_nsec = 1000000};
			char late[128];
			snprintf(late, sizeof late, "%s.late.%d", prefix, i);
			code = bs_create_service(&inside, late, &send);
			if (code == 0)
				close(send);
			nanosleep(&ms, NULL);
		}
		WANT("create_service in a subset that ended", code, NOT_PRIVILEGED);
		int live, live_send;
		make_port(&live, &live_send);
		WANT("subset of it", bs_subset(&inside, OLD, live_send, &unused), NOT_PRIVILEGED);
		close(live);
		close(live_send);
		checks += look_up_everywhere(&inside, shared, 0, outer);
		close(inside.fd);
		close(kept);
	}
	WANT("subset without a requestor", bs_subset(b, OLD, -1, &unused), NOT_PRIVILEGED);
	WANT("subset with a dead requestor", bs_subset(b, OLD, -2, &unused), 17);
	WANT("parent of the root", bs_parent(b, OLD, &port), 0);
	bs_through(&above, port);
	close(port);
	checks += look_up_everywhere(&above, shared, 0, outer);
	close(above.fd);
	WANT("unprivileged", bs_unprivileged(b, &port), 0);
	bs_through(&above, port);
	close(port);
	checks += look_up_everywhere(&above, shared, 0, outer);
	close(above.fd);
	close(outer);
	return checks;
}

/* Message 711: to be told when a port dies. */
static int notices(struct bootstrap *b)
{
	int checks = 0, receive, send, told, notify;
	struct packet m;
	for (int dead = 0; dead < 2; dead++) {
		make_port(&receive, &send);
		make_port(&told, &notify);
		if (dead)
			close(receive);
		bs_begin(b, 1, 711);
		put32(&b->m, 2);
		put_port(&b->m, send, COPY_SEND);
		put_port(&b->m, notify, MAKE_SEND_ONCE);
		put_ndr(&b->m);
		put32(&b->m, 72);
		uint32_t token = b->token;
		WANT("notify", bs_end(b, 36, 0), 0);
		close(notify);
		if (!dead)
			close(receive);
		WANT("a notification", await_packet(told, &m), 1);
		WANT("dead name", id_of(&m), 72);
		WANT("its size", m.n, 36);
		WANT("its name", get32(&m, 32), token);
		WANT("once", await_packet(told, &m), 0);
		close(told);
		close(send);
	}
	return checks;
}

static int refused(struct bootstrap *b, const char *prefix)
{
	static const struct { int32_t id; size_t size; int code; } calls[] = {
		{401, 40, NOT_PRIVILEGED}, {405, 164, NOT_PRIVILEGED}, {423, 164, NOT_PRIVILEGED}, {400, 552, NOT_PRIVILEGED},
		{411, 24, 46}, {412, 24, MIG_BAD_ID}, {413, 24, MIG_BAD_ID}, {416, 48, MIG_BAD_ID}, {418, 36, MIG_BAD_ID}, {428, 36, MIG_BAD_ID},
		{429, 160, MIG_BAD_ID}, {435, 68, MIG_BAD_ID}, {440, 24, MIG_BAD_ID}, {999, 160, MIG_BAD_ID}, {-1, 24, MIG_BAD_ID}, {702, 64, 4},
		{404, 161, MIG_BAD_ARGS}, {402, 24, MIG_BAD_ARGS}, {403, 176, MIG_BAD_ARGS},
	};
	int checks = 0, unused;
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		int code = bs_bare(b, calls[i].id, calls[i].size);
		if (code != calls[i].code && !(calls[i].id == 702 && code == NOT_PRIVILEGED)) {
			fprintf(stderr, "routine %d of %zu bytes: ", (int)calls[i].id, calls[i].size);
			fail("code", code, calls[i].code);
		}
		checks++;
	}
	WANT("lookup_children", bs_bare(b, 425, 24), geteuid() == 0 ? NO_CHILDREN : NOT_PRIVILEGED);
	char control[128];
	snprintf(control, sizeof control, "%s.\x01", prefix);
	WANT("a control byte in a name", bs_look_up(b, OLD, control, 0, 0, NULL, &unused), MIG_BAD_ARGS);
	WANT("no name", bs_look_up(b, OLD, "", 0, 0, NULL, &unused), MIG_BAD_ARGS);
	WANT("no name, seed", bs_look_up(b, SEED, "", 0, 0, NULL, &unused), MIG_BAD_ARGS);
	return checks;
}

static int dialects(struct bootstrap *b, const char *path, const char *prefix)
{
	static struct bootstrap other;
	bs_open(&other, path);
	int checks = check_ins(b, &other, prefix) + registers(b, &other, prefix) + created(b, &other, prefix) + arrays(b, prefix) + subsets(b, prefix) +
		     notices(b) + refused(b, prefix);
	printf("{\"checks\":%d}\n", checks);
	close(other.fd);
	return 0;
}

#endif
