// SPDX-License-Identifier: Apache-2.0
// What all parts of the test backend know: its mode, its identity, its counters and its log.

#ifndef BACKEND_H
#define BACKEND_H

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hash.h"
#include "mode.h"
#include "wire.h"

#define ENV "RUNNING_PROCESS_BROKER_V1_"

static struct {
	struct mode mode;
	char exe[PATH_MAX], boot[64];
	uint8_t exe_blake3[HASH_BYTES], exe_sha256[HASH_BYTES];
	uint64_t started_ms;
	const char *listener; // "adopted" or "bound"
	pid_t helper;
	atomic_long probes, handoffs, open;
} self;

static const char *env(const char *name) {
	const char *value = getenv(name);
	return value == NULL ? "" : value;
}

static uint64_t now_ms(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void sleep_ms(long ms) {
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};
	while (ms > 0 && nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

// note tells stderr, and the file EXE.log if somebody has made it: a launched backend has no stderr.
static void note(const char *format, ...) {
	char line[1024], path[PATH_MAX + 8];
	int at = snprintf(line, sizeof line, "%ld ", (long)getpid());
	va_list args;
	va_start(args, format);
	int more = vsnprintf(line + at, sizeof line - (size_t)at - 1, format, args);
	va_end(args);
	at = more > (int)sizeof line - at - 2 ? (int)sizeof line - 2 : at + more;
	line[at++] = '\n';
	ssize_t n = write(STDERR_FILENO, line, (size_t)at);
	snprintf(path, sizeof path, "%s.log", self.exe);
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd >= 0) {
		n = write(fd, line, (size_t)at);
		close(fd);
	}
	(void)n;
}

#define FATAL(...) (note("fatal: " __VA_ARGS__), _exit(3))

// crash ends the process as a fault would: at once, nothing cleaned up.
static void crash(void) {
	note("crash");
	kill(getpid(), SIGKILL);
}

static struct bytes read_whole(const char *path) {
	struct bytes b = {0};
	char part[1 << 16];
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && (n = read(fd, part, sizeof part)) > 0)
		put(&b, part, (size_t)n);
	if (fd >= 0)
		close(fd);
	return b;
}

// know_thyself fills in the identity of section 9.
static void know_thyself(void) {
	struct bytes image = read_whole("/proc/self/exe"), boot = read_whole("/proc/sys/kernel/random/boot_id");
	blake3(image.data, image.size, self.exe_blake3);
	sha256(image.data, image.size, self.exe_sha256);
	while (boot.size > 0 && boot.data[boot.size - 1] <= ' ')
		boot.size--;
	snprintf(self.boot, sizeof self.boot, "%.*s", (int)boot.size, boot.data == NULL ? "" : (char *)boot.data);
	free(image.data);
	free(boot.data);
}

// start_thread runs task(argument) in a thread of its own, which nobody joins.
static void start_thread(void *(*task)(void *), intptr_t argument) {
	pthread_t thread;
	if (pthread_create(&thread, NULL, task, (void *)argument) != 0)
		FATAL("no thread");
	pthread_detach(thread);
}

// serve_connection answers frames until the peer leaves or breaks the rules, and closes fd (an intptr_t).
static void *serve_connection(void *fd);

#endif
