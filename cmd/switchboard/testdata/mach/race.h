/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that want the same names at the same time: thread i checks in, registers or looks up, in a dialect of its own.
 *
 * It prints "ready", and with the first line of its input the race begins. Then, in JSON: the names won, how often each code came, for check_in, register and
 * look_up; with the second line it sends one message to each name and says so, with the third it prints how many messages came for what it won.
 */
#ifndef RACE_H
#define RACE_H

#include "bootstrap.h"
#include "workshop.h"

#include <pthread.h>

enum { RACERS = 64, RACE_NAMES = 256, CHECK_IN = 0, REGISTER, LOOK_UP, WAYS };

static struct race {
	const char *path, *prefix;
	int names, threads;
	pthread_barrier_t start;
	pthread_mutex_t lock; /* guards what follows */
	int receive[RACE_NAMES], won;
	struct { int code, count; } codes[WAYS][16];
	struct racer { struct bootstrap b; int number; } racer[RACERS];
} the_race;

static void count_code(struct race *r, int way, int code)
{
	for (int i = 0; i < 16; i++) {
		if (r->codes[way][i].count > 0 && r->codes[way][i].code != code)
			continue;
		r->codes[way][i].code = code;
		r->codes[way][i].count++;
		return;
	}
}

static void won(struct race *r, int name, int receive)
{
	if (r->receive[name] >= 0)
		fail("winners of a name in one program", 2, 1);
	r->receive[name] = receive;
	r->won++;
}

static void *racing(void *arg)
{
	static const enum dialect check_in[] = {SEED, OLD, NEWEST};
	struct race *r = &the_race;
	struct racer *me = arg;
	int way = me->number % 8 == 7 ? LOOK_UP : me->number % 2;
	bs_open(&me->b, r->path);
	for (int n = 0; n < r->names; n++) {
		char name[128];
		int receive = -1, send = -1, code;
		enum dialect d = (enum dialect)((me->number / 2 + n) % DIALECTS);
		snprintf(name, sizeof name, "%s.%d", r->prefix, n);
		if (way == REGISTER)
			make_port(&receive, &send);
		pthread_barrier_wait(&r->start);
		if (way == CHECK_IN)
			code = bs_check_in(&me->b, check_in[(me->number / 2 + n) % 3], name, 0, &receive, NULL);
		else if (way == REGISTER)
			code = bs_register(&me->b, d, name, 0, send);
		else
			code = bs_look_up(&me->b, d, name, 0, 0, NULL, &send);
		pthread_mutex_lock(&r->lock);
		count_code(r, way, code);
		if (way != LOOK_UP && code == 0)
			won(r, n, receive);
		else if (way == REGISTER)
			close(receive);
		pthread_mutex_unlock(&r->lock);
		if (send >= 0)
			close(send);
	}
	return NULL;
}

/* Waits for a line; without one the program is not wanted any more. */
static void await_line(void)
{
	char line[16];
	if (!fgets(line, sizeof line, stdin))
		exit(0);
}

static void print_race(struct race *r)
{
	static const char *const ways[WAYS] = {"check_in", "register", "look_up"};
	printf("{\"won\":[");
	for (int n = 0, first = 1; n < r->names; n++)
		if (r->receive[n] >= 0)
			printf("%s%d", first ? "" : ",", n), first = 0;
	printf("]");
	for (int way = 0; way < WAYS; way++) {
		printf(",\"%s\":{", ways[way]);
		for (int i = 0; i < 16 && r->codes[way][i].count > 0; i++)
			printf("%s\"%d\":%d", i ? "," : "", r->codes[way][i].code, r->codes[way][i].count);
		printf("}");
	}
	puts("}");
	fflush(stdout);
}

static int race(const char *path, const char *prefix, int names, int threads)
{
	struct race *r = &the_race;
	pthread_t t[RACERS];
	if (names < 1 || names > RACE_NAMES || threads < 1 || threads > RACERS)
		return 64;
	*r = (struct race){.path = path, .prefix = prefix, .names = names, .threads = threads};
	memset(r->receive, -1, sizeof r->receive);
	pthread_mutex_init(&r->lock, NULL);
	pthread_barrier_init(&r->start, NULL, (unsigned)threads);
	puts("ready");
	fflush(stdout);
	await_line();
	for (int i = 0; i < threads; i++) {
		r->racer[i].number = i;
		int error = pthread_create(&t[i], NULL, racing, &r->racer[i]);
		if (error)
			fail("pthread_create", error, 0);
	}
	for (int i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	print_race(r);

	await_line();
	for (int n = 0; n < names; n++) {
		char name[128];
		int send;
		snprintf(name, sizeof name, "%s.%d", prefix, n);
		int code = bs_look_up(&r->racer[0].b, OLD, name, 0, 0, NULL, &send);
		if (code)
			fail("look_up after the race", code, 0);
		if (send_number(send, NUMBERED, (uint32_t)n, COPY_SEND, 0) < 0)
			die("send to a winner");
		close(send);
	}
	puts("{\"sent\":true}");
	fflush(stdout);

	await_line();
	int came = 0;
	for (int n = 0; n < names; n++) {
		static struct packet m;
		while (r->receive[n] >= 0 && recv_packet(r->receive[n], &m, MSG_DONTWAIT) == 1) {
			if ((int)get32(&m, 32) != n)
				fail("number of a name", get32(&m, 32), n);
			drop_fds(&m);
			came++;
		}
	}
	printf("{\"came\":%d}\n", came);
	fflush(stdout);
	await_line();
	return 0;
}

#endif
