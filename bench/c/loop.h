/* SPDX-License-Identifier: Apache-2.0 */
/* A closed loop of N client processes, each with one request outstanding.
 *
 * Every client is a process of its own, forked before anything is opened, so
 * that nothing is shared that programs on a real machine would not share.
 * They start together, run until the time is over, and the sum of what they
 * did is printed as one line of JSON:
 *
 *   {"clients":8,"seconds":1.002,"count":301234,"all":316024,"rate":300632.7}
 *
 * ("all" has the warming up in it, for whoever divides CPU time by it), and with one client and latencies asked for also, in nanoseconds:
 *
 *   "min_ns":…, "median_ns":…, "p90_ns":…, "p99_ns":…
 */
#ifndef LOOP_H
#define LOOP_H

#include <stdint.h>

struct loop {
	int clients;      /* processes */
	double seconds;   /* how long the loop runs; it warms up for 0.05 s before */
	int latencies;    /* keep the time of each step */
	void *(*open)(void);              /* in the client's process; ends it on failure */
	uint64_t (*step)(void *client);   /* one request; returns its nanoseconds, 0: the loop times it */
};

int loop_run(const struct loop *);
uint64_t loop_now(void);              /* nanoseconds, monotonic */
void loop_die(const char *what, ...) __attribute__((noreturn, format(printf, 1, 2)));
int loop_unix(const char *path, int type); /* a connected Unix socket, or -1 with errno */

#endif
