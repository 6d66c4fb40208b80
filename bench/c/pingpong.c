/* SPDX-License-Identifier: Apache-2.0 */
/* Two processes and two words in shared memory, each answering the other: what frames stand on.
 *
 *   pingpong futex SECONDS     FUTEX_WAKE and FUTEX_WAIT
 *   pingpong spin SECONDS      both look at the words again and again
 *
 * A step is half of a round trip; 20 of these are timed at once. Output: loop.h.
 */
#define _GNU_SOURCE
#include "loop.h"

#include <linux/futex.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BATCH = 20 };

static int sleeps;
static uint32_t n;
static struct words {
	_Alignas(64) atomic_uint there;
	_Alignas(64) atomic_uint back;
} *w;

static void tell(atomic_uint *word, uint32_t value)
{
	atomic_store(word, value);
	if (sleeps)
		syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void await(atomic_uint *word, uint32_t before)
{
	while (atomic_load(word) == before)
		if (sleeps)
			syscall(SYS_futex, word, FUTEX_WAIT, before, NULL, NULL, 0);
}

static void *open_words(void)
{
	w = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (w == MAP_FAILED)
		loop_die("mmap");
	pid_t pid = fork();
	if (pid < 0)
		loop_die("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (uint32_t i = 0;; i++) {
			await(&w->there, i);
			tell(&w->back, i + 1);
		}
	}
	return w;
}

static uint64_t step(void *client)
{
	(void)client;
	uint64_t start = loop_now();
	for (int i = 0; i < BATCH; i++, n++) {
		tell(&w->there, n + 1);
		await(&w->back, n);
	}
	return (loop_now() - start) / (2 * BATCH);
}

int main(int argc, char **argv)
{
	struct loop l = {.clients = 1, .latencies = 1, .open = open_words, .step = step};
	if (argc != 3 || (strcmp(argv[1], "futex") && strcmp(argv[1], "spin"))) {
		fprintf(stderr, "usage: %s futex|spin SECONDS\n", argv[0]);
		return 64;
	}
	sleeps = !strcmp(argv[1], "futex");
	l.seconds = atof(argv[2]);
	return loop_run(&l);
}
