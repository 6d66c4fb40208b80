/* SPDX-License-Identifier: Apache-2.0 */
/* A program written to the Mach bootstrap protocol by its reference alone: clients and servers that know no library.
 *
 *   program selftest                           the stubs against each other
 *   program stub-client | stub-server          the workshop on the port that is descriptor 3
 *   program serve PATH NAME HOW                has the name (HOW: seed, custom, old, new, newest check in or register), serves until its input ends
 *   program backend PATH NAME                  the same for one that is launched: it has no input
 *   program client PATH NAME                   looks the name up in each dialect and calls all routines
 *   program dialects PATH PREFIX               walks through the bootstrap calls of each dialect
 *   program race PATH PREFIX NAMES THREADS     32 threads that want the same names (race.h)
 *   program take PATH NAME COUNT               checks in and prints the numbers of so many messages, then of those that are there when a line comes
 *   program post PATH NAME FIRST COUNT         sends numbered messages
 *   program hostile PATH KIND COUNT            does what nobody should (hostile.h)
 *
 * PATH is bootstrap.sock; "path" is the one that the environment names, "port" the bootstrap port that it names. Each prints "ready" when it waits
 * for something, and a line of JSON when it is done.
 */
#define _GNU_SOURCE
#include "bootstrap.h"
#include "exercise.h"
#include "workshop_server.h"

#include "dialects.h"
#include "hostile.h"
#include "race.h"

#include <pthread.h>
#include <signal.h>

static void *serving(void *port)
{
	serve(*(int *)port, -1);
	return NULL;
}

static int selftest(void)
{
	int receive, send, error;
	pthread_t t;
	make_port(&receive, &send);
	if ((error = pthread_create(&t, NULL, serving, &receive)) != 0)
		fail("pthread_create", error, 0);
	int checks = exercise(send);
	close(send);
	pthread_join(t, NULL);
	close(receive);
	printf("{\"checks\":%d}\n", checks);
	return 0;
}

static enum dialect dialect(const char *how)
{
	static const char *const names[DIALECTS] = {"seed", "custom", "old", "new", "newest"};
	for (int d = 0; d < DIALECTS; d++)
		if (!strcmp(how, names[d]))
			return (enum dialect)d;
	fprintf(stderr, "no dialect %s\n", how);
	exit(64);
}

static struct bootstrap boot;

/* Takes the receive right of a name, in a dialect; custom has no check_in and registers a port of its own. */
static int have(const char *name, enum dialect d)
{
	int receive, send, code;
	if (d != CUSTOM) {
		code = bs_check_in(&boot, d, name, 0, &receive, NULL);
	} else {
		make_port(&receive, &send);
		code = bs_register(&boot, d, name, 0, send);
		close(send);
	}
	if (code)
		fail("check_in or register", code, 0);
	return receive;
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

static int run_client(const char *name)
{
	int checks = 0, send;
	for (int d = 0; d < DIALECTS; d++) {
		int32_t sum;
		WANT("look_up", bs_look_up(&boot, d, name, 0, 0, NULL, &send), 0);
		WANT("add", user_add(send, d, 1, &sum), 0);
		WANT("its sum", sum, d + 1);
		close(send);
	}
	WANT("look_up", bs_look_up(&boot, OLD, name, 0, 0, NULL, &send), 0);
	checks += exercise(send);
	printf("{\"checks\":%d}\n", checks);
	return 0;
}

static void print_numbers(int receive, long count, int flags)
{
	struct packet m;
	printf("{\"numbers\":[");
	for (long i = 0; count < 0 || i < count; i++) {
		int r = flags ? recv_packet(receive, &m, flags) : await_packet(receive, &m);
		if (r < 0 && errno == EAGAIN)
			break;
		if (r <= 0)
			die("await a number");
		printf("%s%u", i ? "," : "", get32(&m, 32));
		drop_fds(&m);
	}
	puts("]}");
	fflush(stdout);
}

static int take(const char *name, long count)
{
	char line[16];
	int receive = have(name, NEWEST);
	print_numbers(receive, count, 0);
	if (fgets(line, sizeof line, stdin))
		print_numbers(receive, -1, MSG_DONTWAIT);
	return 0;
}

static int post(const char *name, uint32_t first, uint32_t count)
{
	int send, code = bs_look_up(&boot, SEED, name, 0, 0, NULL, &send);
	if (code)
		fail("look_up", code, 0);
	for (uint32_t i = 0; i < count; i++)
		if (send_number(send, NUMBERED, first + i, COPY_SEND, 0) < 0)
			die("send a number");
	printf("{\"sent\":%u}\n", count);
	return 0;
}

int main(int argc, char **argv)
{
	const char *role = argc > 1 ? argv[1] : "";
	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(role, "selftest"))
		return selftest();
	if (!strcmp(role, "stub-client")) {
		printf("{\"checks\":%d}\n", exercise(3));
		return 0;
	}
	if (!strcmp(role, "stub-server")) {
		serve(3, -1);
		return 0;
	}
	if (argc < 4)
		goto usage;
	const char *path = argv[2], *name = argv[3];
	if (!strcmp(role, "race") && argc == 6)
		return race(path, name, atoi(argv[4]), atoi(argv[5]));
	if (!strcmp(role, "hostile") && argc == 5)
		return hostile(path, argv[3], atoi(argv[4]));
	bs_open(&boot, path);
	if (!strcmp(role, "serve") && argc == 5) {
		int port = have(name, dialect(argv[4]));
		ready();
		serve(port, 0);
		return 0;
	}
	if (!strcmp(role, "backend") && argc == 4) {
		serve(have(name, NEWEST), -1);
		return 0;
	}
	if (!strcmp(role, "client") && argc == 4)
		return run_client(name);
	if (!strcmp(role, "dialects") && argc == 4)
		return dialects(&boot, path, name);
	if (!strcmp(role, "take") && argc == 5)
		return take(name, atol(argv[4]));
	if (!strcmp(role, "post") && argc == 6)
		return post(name, (uint32_t)atol(argv[4]), (uint32_t)atol(argv[5]));
usage:
	fprintf(stderr, "usage: %s selftest | stub-client | stub-server | serve PATH NAME HOW | backend PATH NAME | client PATH NAME | dialects PATH PREFIX |"
			" race PATH PREFIX NAMES THREADS | take PATH NAME COUNT | post PATH NAME FIRST COUNT | hostile PATH KIND COUNT\n", argv[0]);
	return 64;
}
