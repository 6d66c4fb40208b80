/* SPDX-License-Identifier: Apache-2.0 */
/* Time from before socket() to the first byte of the service's answer.
 *
 *   connect serve PATH                    listens, accepts, answers each caller with one byte
 *   connect own FOLDER NAME               the same as a service of the broker, by hand-over
 *   connect plain PATH SECONDS            calls PATH with a plain connect
 *   connect dial FOLDER NAME SECONDS      calls NAME with the line DIAL on broker.sock
 *
 * The two services print "ready" and run until they are killed; what the two callers print: loop.h.
 */
#define _GNU_SOURCE
#include "sb.h"

#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

static const char *path;
static char broker[256], line[256];
static size_t line_size;

static void ready(void)
{
	printf("ready\n");
	fflush(stdout);
}

/* What the service does with a caller: the same for both. */
static void answer(int fd)
{
	(void)!send(fd, "x", 1, MSG_NOSIGNAL);
	close(fd);
}

static int serve(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	strncpy(a.sun_path, path, sizeof a.sun_path - 1);
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(l, (struct sockaddr *)&a, sizeof a) < 0 || listen(l, 1024) < 0)
		loop_die("listen on %s", path);
	ready();
	for (;;) {
		int fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			loop_die("accept");
		answer(fd);
	}
}

/* Receives one packet and at most one descriptor, -1 if none came. */
static size_t receive(int session, unsigned char *in, size_t room, int *fd)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec v = {in, room};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
	ssize_t r = recvmsg(session, &m, MSG_CMSG_CLOEXEC);
	if (r < SB_HEADER)
		loop_die("the session ended");
	*fd = -1;
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof *fd);
	return (size_t)r;
}

static int own(const char *folder, const char *name)
{
	unsigned char out[256], in[SB_PACKET];
	int session = sb_session(folder);
	size_t n = sb_header(out, SB_REQUEST, SB_CLAIM, 2, 1);
	n = sb_bytes(out, n, 1, name, strlen(name));
	n = sb_number(out, n, 2, SB_SERVICE);
	sb_exchange(session, out, n, in, sizeof in);
	ready();
	for (;;) {
		int fd;
		size_t got = receive(session, in, sizeof in, &fd);
		if (in[2] != SB_HAND_OVER || fd < 0) {
			if (fd >= 0)
				close(fd);
			continue;
		}
		const unsigned char *preamble = NULL;
		uint64_t id = sb_find(in + SB_HEADER, got - SB_HEADER, 1, NULL);
		size_t len = sb_find(in + SB_HEADER, got - SB_HEADER, 3, &preamble);
		/* The acknowledgement goes first: section 5. */
		n = sb_header(out, SB_ONE_WAY, SB_TAKEN, 0, 0);
		n = sb_number(out, n, 1, id);
		if (send(session, out, n, MSG_NOSIGNAL) != (ssize_t)n)
			loop_die("cannot acknowledge");
		(void)!send(fd, preamble, len, MSG_NOSIGNAL);
		answer(fd);
	}
}

static void *open_nothing(void)
{
	return &line;
}

static uint64_t plain(void *c)
{
	(void)c;
	char b;
	uint64_t start = loop_now();
	int fd = loop_unix(path, SOCK_STREAM);
	if (fd < 0 || recv(fd, &b, 1, 0) != 1)
		loop_die("no answer at %s", path);
	uint64_t took = loop_now() - start;
	close(fd);
	return took;
}

static uint64_t dial(void *c)
{
	(void)c;
	char in[512];
	size_t have = 0;
	uint64_t start = loop_now();
	int fd = loop_unix(broker, SOCK_STREAM);
	if (fd < 0 || send(fd, line, line_size, MSG_NOSIGNAL) != (ssize_t)line_size)
		loop_die("cannot ask at %s", broker);
	while (have < 4) { /* "OK\n" and the first byte */
		ssize_t r = recv(fd, in + have, sizeof in - have, 0);
		if (r <= 0)
			loop_die("no verdict at %s", broker);
		have += (size_t)r;
		if (strncmp(in, "OK\n", have < 3 ? have : 3) != 0)
			loop_die("the verdict is %.*s", (int)have, in);
	}
	uint64_t took = loop_now() - start;
	close(fd);
	return took;
}

int main(int argc, char **argv)
{
	const char *role = argc > 2 ? argv[1] : "";
	struct loop l = {.clients = 1, .latencies = 1, .open = open_nothing};
	path = argc > 2 ? argv[2] : "";
	if (!strcmp(role, "serve"))
		return serve();
	if (!strcmp(role, "own") && argc == 4)
		return own(argv[2], argv[3]);
	if (!strcmp(role, "plain") && argc == 4) {
		l.seconds = atof(argv[3]);
		l.step = plain;
	} else if (!strcmp(role, "dial") && argc == 5) {
		snprintf(broker, sizeof broker, "%s/broker.sock", argv[2]);
		line_size = (size_t)snprintf(line, sizeof line, "DIAL %s\n", argv[3]);
		l.seconds = atof(argv[4]);
		l.step = dial;
	} else {
		fprintf(stderr, "usage: %s serve PATH | own FOLDER NAME | plain PATH SECONDS | dial FOLDER NAME SECONDS\n", argv[0]);
		return 64;
	}
	return loop_run(&l);
}
