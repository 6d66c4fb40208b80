/* SPDX-License-Identifier: Apache-2.0 */
/* Time of a warm Hello of running-process v1: from its write to its reply decoded, the connect excluded.
 *
 *   hello serve PATH REQUEST REPLY                   the barest server: accepts, reads so many bytes, answers so many
 *   hello bytes PATH REQUEST REPLY COUNT CLIENTS     calls that one
 *   hello hello PATH SERVICE VERSION COUNT CLIENTS   says Hello to a broker
 *
 * So many CLIENTS at once, COUNT times each. A broker serves 256 Hellos a second and process, so each process makes BATCH
 * calls and then another takes its place. Printed is one line of JSON, with the sizes of request and reply:
 *
 *   {"request":118,"reply":153,"samples_ns":[81234,…]}
 */
#define _GNU_SOURCE
#include "rp.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <signal.h>

enum { BATCH = 250 };

static struct shared {
	atomic_int ready, go;
	size_t request, reply;
	uint64_t sample[];
} *shared;

static const char *path, *service, *version;
static size_t request, reply;

static int serve(void)
{
	static unsigned char data[RP_ROOM];
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	strncpy(a.sun_path, path, sizeof a.sun_path - 1);
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(l, (struct sockaddr *)&a, sizeof a) < 0 || listen(l, 1024) < 0)
		loop_die("listen on %s", path);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		int fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			loop_die("accept");
		ssize_t r = 1;
		for (size_t have = 0; have < request && r > 0; have += (size_t)r)
			r = recv(fd, data, request - have, 0);
		if (r > 0)
			(void)!send(fd, data, reply, MSG_NOSIGNAL);
		close(fd);
	}
}

static void bytes(int fd)
{
	static unsigned char data[RP_ROOM];
	rp_send(fd, data, request);
	for (size_t have = 0; have < reply;) {
		ssize_t r = recv(fd, data, sizeof data, 0);
		if (r <= 0)
			loop_die("no answer at %s", path);
		have += (size_t)r;
	}
}

static void hello(int fd)
{
	static struct rp_in in;
	struct rp_negotiated n;
	unsigned char out[512];
	const unsigned char *body;
	size_t size = rp_hello(out, service, version, 0);
	rp_send(fd, out, size);
	in.have = in.used = 0;
	size_t got = rp_next(fd, &in, &body);
	rp_reply(body, got, &n);
	shared->request = size;
	shared->reply = RP_HEADER + got;
}

/* One process: its share of the calls. */
static void batch(void (*call)(int), uint64_t *sample, int count)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < count; i++) {
		int fd = loop_unix(path, SOCK_STREAM);
		if (fd < 0)
			loop_die("connect %s", path);
		uint64_t start = loop_now();
		call(fd);
		sample[i] = loop_now() - start;
		close(fd);
	}
	_exit(0);
}

static void wait_for(pid_t p)
{
	int status;
	if (p < 0 || waitpid(p, &status, 0) < 0 || status != 0)
		exit(1);
}

/* One client: processes that take each other's place. */
static void client(void (*call)(int), uint64_t *sample, int count)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	atomic_fetch_add(&shared->ready, 1);
	while (!atomic_load(&shared->go))
		usleep(100);
	for (int done = 0; done < count; done += BATCH) {
		pid_t p = fork();
		if (p == 0)
			batch(call, sample + done, count - done < BATCH ? count - done : BATCH);
		wait_for(p);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	const char *role = argc > 2 ? argv[1] : "";
	path = argc > 2 ? argv[2] : "";
	int is_hello = !strcmp(role, "hello");
	if (argc > 4 && !is_hello) {
		request = (size_t)atol(argv[3]);
		reply = (size_t)atol(argv[4]);
	}
	if (!strcmp(role, "serve") && argc == 5 && request <= RP_ROOM && reply <= RP_ROOM)
		return serve();
	if (argc != 7 || (!is_hello && strcmp(role, "bytes"))) {
		fprintf(stderr, "usage: %s serve PATH REQUEST REPLY | bytes PATH REQUEST REPLY COUNT CLIENTS | hello PATH SERVICE VERSION COUNT CLIENTS\n", argv[0]);
		return 64;
	}
	service = argv[3];
	version = argv[4];
	int count = atoi(argv[5]), clients = atoi(argv[6]);
	if (count < 1 || clients < 1 || clients > 64)
		return 64;
	size_t all = (size_t)count * (size_t)clients;
	shared = mmap(NULL, sizeof *shared + all * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		loop_die("mmap");
	shared->request = request;
	shared->reply = reply;
	pid_t p[64];
	for (int i = 0; i < clients; i++)
		if ((p[i] = fork()) == 0)
			client(is_hello ? hello : bytes, shared->sample + (size_t)i * (size_t)count, count);
	while (atomic_load(&shared->ready) < clients)
		usleep(100);
	atomic_store(&shared->go, 1);
	for (int i = 0; i < clients; i++)
		wait_for(p[i]);
	printf("{\"request\":%zu,\"reply\":%zu,\"samples_ns\":[", shared->request, shared->reply);
	for (size_t i = 0; i < all; i++)
		printf("%s%llu", i ? "," : "", (unsigned long long)shared->sample[i]);
	printf("]}\n");
	return 0;
}
