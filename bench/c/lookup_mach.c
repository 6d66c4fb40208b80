/* SPDX-License-Identifier: Apache-2.0 */
/* Closed-loop clients of bootstrap.sock that look ports up, with raw system calls, and what a round trip costs without a broker.
 *
 *   lookup_mach look PATH PREFIX SESSIONS NAMES CLIENTS SECONDS [latencies]
 *                              look_up of names PREFIX.sS.nN at random: 160 bytes there, 40 and a descriptor back
 *   lookup_mach echo PATH CLIENTS SECONDS [latencies]
 *                              the same packets to a server that answers anything with 40 bytes, with or without a descriptor
 *   lookup_mach serve PATH COUNT
 *                              such a server: a process for each connection, which passes one of COUNT sockets with each reply (0: none)
 *
 * What the first two print: loop.h.
 */
#define _GNU_SOURCE
#include "loop.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LOOK_UP = 404, REQUEST = 160, REPLY = 40 };

static const char *path, *prefix;
static uint32_t sessions, names;

struct client {
	int fd;
	uint32_t token;
	uint64_t random;
	unsigned char request[REQUEST];
};

static void put32(unsigned char *p, uint32_t v) { memcpy(p, &v, 4); }

static void *open_client(void)
{
	struct client *c = calloc(1, sizeof *c);
	if (!c)
		loop_die("calloc");
	c->fd = loop_unix(path, SOCK_SEQPACKET);
	if (c->fd < 0)
		loop_die("connect %s", path);
	c->random = 0x9e3779b97f4a7c15u * (uint64_t)getpid();
	put32(c->request, 0x1513);
	put32(c->request + 4, REQUEST);
	put32(c->request + 8, 1);
	put32(c->request + 20, LOOK_UP);
	c->request[28] = 1;
	strcpy((char *)c->request + 32, "com.example.echo");
	return c;
}

/* A random number below n: xorshift. */
static uint32_t below(uint64_t *random, uint32_t n)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return (uint32_t)((*random >> 32) * n >> 32);
}

static char *digits(char *p, uint32_t v)
{
	char room[10];
	int n = 0;
	do
		room[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n > 0)
		*p++ = room[--n];
	return p;
}

/* One round trip; the descriptor that comes back is closed. */
static uint64_t step_echo(void *client)
{
	struct client *c = client;
	unsigned char reply[64];
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec v = {.iov_base = reply, .iov_len = sizeof reply};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
	put32(c->request + 12, ++c->token);
	if (send(c->fd, c->request, REQUEST, MSG_NOSIGNAL) != REQUEST)
		loop_die("send");
	if (recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC) != REPLY)
		loop_die("a reply of another size");
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	if (h && h->cmsg_type == SCM_RIGHTS) {
		int fd;
		memcpy(&fd, CMSG_DATA(h), sizeof fd);
		close(fd);
	}
	return 0;
}

static uint64_t step_look_up(void *client)
{
	struct client *c = client;
	char *p = stpcpy((char *)c->request + 32, prefix);
	p = digits(stpcpy(p, ".s"), below(&c->random, sessions));
	p = digits(stpcpy(p, ".n"), below(&c->random, names));
	memset(p, 0, (size_t)((char *)c->request + REQUEST - p));
	return step_echo(c);
}

static void answer(int fd, const int *passed, uint32_t count)
{
	uint64_t random = 0x9e3779b97f4a7c15u;
	unsigned char request[4096], reply[REPLY] = {0x12};
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec v = {.iov_base = reply, .iov_len = sizeof reply};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	struct cmsghdr *h = NULL;
	if (count > 0) {
		m.msg_control = control.room;
		m.msg_controllen = sizeof control.room;
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int));
	}
	while (recv(fd, request, sizeof request, 0) > 0) {
		if (h)
			memcpy(CMSG_DATA(h), &passed[below(&random, count)], sizeof(int));
		if (sendmsg(fd, &m, MSG_NOSIGNAL) != REPLY)
			return;
	}
}

static int serve(uint32_t count)
{
	int *passed = calloc(count + 1, sizeof *passed);
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int s[2], l = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	strncpy(a.sun_path, path, sizeof a.sun_path - 1);
	unlink(path);
	if (l < 0 || bind(l, (struct sockaddr *)&a, sizeof a) < 0 || listen(l, 128) < 0)
		loop_die("listen on %s", path);
	for (uint32_t i = 0; i < count; i++) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) < 0)
			loop_die("socketpair");
		passed[i] = s[0];
		close(s[1]);
	}
	signal(SIGCHLD, SIG_IGN);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int fd = accept(l, NULL, NULL);
		if (fd < 0)
			loop_die("accept");
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			answer(fd, passed, count);
			_exit(0);
		}
		close(fd);
	}
}

int main(int argc, char **argv)
{
	const char *role = argc > 2 ? argv[1] : "";
	struct loop l = {.open = open_client};
	int at;
	path = argc > 2 ? argv[2] : "";
	if (!strcmp(role, "serve"))
		return serve(argc > 3 ? (uint32_t)atoi(argv[3]) : 0);
	if (!strcmp(role, "look") && argc > 7) {
		prefix = argv[3];
		sessions = (uint32_t)atoi(argv[4]);
		names = (uint32_t)atoi(argv[5]);
		l.step = step_look_up;
		at = 6;
	} else if (!strcmp(role, "echo") && argc > 4) {
		l.step = step_echo;
		at = 3;
	} else {
		fprintf(stderr, "usage: %s look PATH PREFIX SESSIONS NAMES CLIENTS SECONDS [latencies] | echo PATH CLIENTS SECONDS [latencies] |"
				" serve PATH COUNT\n", argv[0]);
		return 64;
	}
	l.clients = atoi(argv[at]);
	l.seconds = atof(argv[at + 1]);
	l.latencies = argc > at + 2;
	return loop_run(&l);
}
