/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES (1 << 21)

/* What parent and clients share; the flag has a cache line of its own. */
struct shared {
	_Alignas(64) atomic_int ready;
	_Alignas(64) atomic_int phase; /* 0 wait, 1 warm up, 2 count, 3 stop */
	_Alignas(64) uint64_t samples;
	struct {
		_Alignas(64) uint64_t count, warm;
	} client[1024];
	uint64_t sample[];
};

void loop_die(const char *what, ...)
{
	int e = errno;
	va_list a;
	va_start(a, what);
	vfprintf(stderr, what, a);
	va_end(a);
	fprintf(stderr, ": %s\n", strerror(e));
	exit(1);
}

uint64_t loop_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int loop_unix(const char *path, int type)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof a.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(a.sun_path, path);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
		int e = errno;
		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

static void client(const struct loop *l, struct shared *s, int i)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	void *c = l->open();
	atomic_fetch_add(&s->ready, 1);
	while (atomic_load(&s->phase) == 0)
		usleep(200);
	uint64_t warm = 0;
	for (; atomic_load_explicit(&s->phase, memory_order_relaxed) == 1; warm++)
		l->step(c);
	uint64_t n = 0, before = l->latencies ? loop_now() : 0;
	while (atomic_load_explicit(&s->phase, memory_order_relaxed) == 2) {
		uint64_t took = l->step(c);
		if (l->latencies) {
			uint64_t now = loop_now();
			if (n < SAMPLES)
				s->sample[n] = took ? took : now - before;
			before = now;
		}
		n++;
	}
	s->client[i].count = n;
	s->client[i].warm = warm;
	if (l->latencies)
		s->samples = n < SAMPLES ? n : SAMPLES;
	_exit(0);
}

static void pause_for(double seconds)
{
	struct timespec t = {.tv_sec = (time_t)seconds};
	t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* Says whether a client has ended, which none does before it is told to. */
static int one_ended(void)
{
	return waitpid(-1, NULL, WNOHANG) > 0;
}

int loop_run(const struct loop *l)
{
	if (l->clients < 1 || l->clients > 1024 || (l->latencies && l->clients != 1)) {
		fprintf(stderr, "clients: 1 to 1024, and 1 with latencies\n");
		return 64;
	}
	size_t size = sizeof(struct shared) + SAMPLES * sizeof(uint64_t);
	struct shared *s = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		loop_die("mmap");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < l->clients; i++) {
		pid_t p = fork();
		if (p < 0)
			loop_die("fork");
		if (p == 0)
			client(l, s, i);
	}
	while (atomic_load(&s->ready) < l->clients) {
		if (one_ended())
			return 1;
		usleep(200);
	}
	atomic_store(&s->phase, 1);
	pause_for(0.05);
	uint64_t start = loop_now();
	atomic_store(&s->phase, 2);
	pause_for(l->seconds);
	atomic_store(&s->phase, 3);
	double seconds = (double)(loop_now() - start) / 1e9;
	int status, bad = 0;
	while (wait(&status) > 0)
		bad |= status;
	if (bad)
		return 1;

	uint64_t count = 0, warm = 0;
	for (int i = 0; i < l->clients; i++) {
		count += s->client[i].count;
		warm += s->client[i].warm;
	}
	printf("{\"clients\":%d,\"seconds\":%.6f,\"count\":%llu,\"all\":%llu,\"rate\":%.1f", l->clients, seconds,
	       (unsigned long long)count, (unsigned long long)(count + warm), (double)count / seconds);
	uint64_t n = s->samples;
	if (l->latencies && n > 0) {
		qsort(s->sample, n, sizeof *s->sample, by_value);
		printf(",\"min_ns\":%llu,\"median_ns\":%llu,\"p90_ns\":%llu,\"p99_ns\":%llu",
		       (unsigned long long)s->sample[0], (unsigned long long)s->sample[n / 2],
		       (unsigned long long)s->sample[n * 9 / 10], (unsigned long long)s->sample[n * 99 / 100]);
	}
	printf("}\n");
	return 0;
}
