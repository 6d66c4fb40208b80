/* SPDX-License-Identifier: Apache-2.0 */
/* Time to the first byte of the answer of a backend of running-process v1 (daemon.c).
 *
 *   served adopt PATH SERVICE VERSION COUNT       from the write of the Hello, the connection handed off to the backend
 *   served reconnect PATH SERVICE VERSION COUNT   likewise, by a connect to backend_pipe
 *   served first PATH SERVICE VERSION CALLERS     one launch, from before the first socket: so many callers at once, until all are
 *                                                 served; then the backend ends
 *   served hand PROGRAM SOCKET                    likewise without a broker: bind, listen, fork, exec, connect
 *
 * Printed is one line of JSON: {"samples_ns":[181234,…]}
 */
#define _GNU_SOURCE
#include "rp.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { BATCH = 250, CALLERS = 64 }; /* BATCH: hello.c */

static const char *path, *service, *version;
static struct rp_in in[CALLERS];

static int connected(const char *to)
{
	int fd = loop_unix(to, SOCK_STREAM);
	if (fd < 0)
		loop_die("connect %s", to);
	return fd;
}

static void say_hello(int fd, unsigned capabilities)
{
	unsigned char out[512];
	rp_send(fd, out, rp_hello(out, service, version, capabilities));
}

static void read_reply(int fd, struct rp_in *i, struct rp_negotiated *n)
{
	const unsigned char *body;
	i->have = i->used = 0;
	size_t size = rp_next(fd, i, &body);
	rp_reply(body, size, n);
}

static void ask(int fd, const char *what)
{
	unsigned char out[64];
	rp_send(fd, out, rp_frame(out, RP_REQUEST, RP_BENCH, 2, what, strlen(what)));
}

/* Waits for the first byte of an answer. */
static void answered(int fd)
{
	unsigned char b;
	if (recv(fd, &b, 1, 0) != 1 || b != 1)
		loop_die("no answer of the backend");
}

/* Waits for the event that says that the backend has the connection. */
static void handed_off(int fd, struct rp_in *i, const struct rp_negotiated *n)
{
	const unsigned char *body, *ack = NULL, *token = NULL;
	size_t size = rp_next(fd, i, &body), len = sb_find(body, size, 4, &ack);
	if (sb_find(body, size, 2, NULL) != RP_EVENT || sb_find(body, size, 3, NULL) != RP_HANDOFF || !ack || sb_find(ack, len, 2, NULL) != 1 ||
	    sb_find(ack, len, 1, &token) != RP_TOKEN || memcmp(token, n->token, RP_TOKEN))
		loop_die("not the event of a handoff");
}

static uint64_t call(int adopt)
{
	struct rp_negotiated n;
	int fd = connected(path), to = fd;
	uint64_t start = loop_now();
	say_hello(fd, adopt ? 1 : 0);
	read_reply(fd, &in[0], &n);
	if (adopt && !n.has_token)
		loop_die("no handoff is offered");
	if (adopt)
		handed_off(fd, &in[0], &n);
	else
		to = connected(n.pipe);
	ask(to, "");
	answered(to);
	uint64_t took = loop_now() - start;
	if (to != fd)
		close(to);
	close(fd);
	return took;
}

static void print(const uint64_t *sample, int count)
{
	printf("{\"samples_ns\":[");
	for (int i = 0; i < count; i++)
		printf("%s%llu", i ? "," : "", (unsigned long long)sample[i]);
	printf("]}\n");
}

static int calls(int adopt, int count)
{
	uint64_t *sample = mmap(NULL, (size_t)count * sizeof *sample, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sample == MAP_FAILED)
		loop_die("mmap");
	for (int done = 0; done < count; done += BATCH) {
		int status;
		pid_t p = fork();
		if (p == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (int i = done; i < count && i < done + BATCH; i++)
				sample[i] = call(adopt);
			_exit(0);
		}
		if (p < 0 || waitpid(p, &status, 0) < 0 || status != 0)
			return 1;
	}
	print(sample, count);
	return 0;
}

/* Has the backend end, and waits until it has. */
static void end(int fd)
{
	char rest[256];
	ask(fd, "q");
	while (recv(fd, rest, sizeof rest, 0) > 0)
		;
}

static int first(int callers)
{
	int fd[CALLERS];
	struct rp_negotiated n;
	uint64_t start = loop_now();
	for (int i = 0; i < callers; i++) {
		fd[i] = connected(path);
		say_hello(fd[i], 0);
	}
	for (int i = 0; i < callers; i++) {
		read_reply(fd[i], &in[i], &n);
		close(fd[i]);
		fd[i] = connected(n.pipe);
		ask(fd[i], "");
	}
	for (int i = 0; i < callers; i++)
		answered(fd[i]);
	uint64_t took = loop_now() - start;
	end(fd[0]);
	print(&took, 1);
	return 0;
}

static int hand(const char *program)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	strncpy(a.sun_path, path, sizeof a.sun_path - 1);
	unlink(path);
	uint64_t start = loop_now();
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(l, (struct sockaddr *)&a, sizeof a) < 0 || listen(l, 128) < 0)
		loop_die("listen on %s", path);
	pid_t p = vfork();
	if (p == 0) {
		char *argv[] = {(char *)program, NULL}, *none[] = {NULL};
		if (l == 3 ? fcntl(l, F_SETFD, 0) == 0 : dup2(l, 3) == 3)
			execve(program, argv, none);
		_exit(127);
	}
	if (p < 0)
		loop_die("fork");
	int fd = connected(path);
	close(l);
	ask(fd, "");
	answered(fd);
	uint64_t took = loop_now() - start;
	end(fd);
	waitpid(p, NULL, 0);
	unlink(path);
	print(&took, 1);
	return 0;
}

int main(int argc, char **argv)
{
	const char *role = argc > 3 ? argv[1] : "";
	int count = argc == 6 ? atoi(argv[5]) : 0;
	if (!strcmp(role, "hand") && argc == 4) {
		path = argv[3];
		return hand(argv[2]);
	}
	if (count > 0) {
		path = argv[2];
		service = argv[3];
		version = argv[4];
		if (!strcmp(role, "adopt") || !strcmp(role, "reconnect"))
			return calls(!strcmp(role, "adopt"), count);
		if (!strcmp(role, "first") && count <= CALLERS)
			return first(count);
	}
	fprintf(stderr, "usage: %s adopt|reconnect PATH SERVICE VERSION COUNT | first PATH SERVICE VERSION CALLERS | hand PROGRAM SOCKET\n", argv[0]);
	return 64;
}
