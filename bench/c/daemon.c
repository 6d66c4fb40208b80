/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest backend of running-process v1, for what the broker and the kernel take besides the program itself.
 *
 * It adopts descriptor 3, answers identity probes, takes handed-off connections at RUNNING_PROCESS_BROKER_V1_HANDOFF_PIPE if
 * that is set, and answers each other request with one byte; after one that begins with "q" it ends. It does not compute its
 * digests, which would be most of its start: the file EXE.sums has them, 32 bytes of BLAKE3 and 32 of SHA-256.
 */
#define _GNU_SOURCE
#include "rp.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/un.h>

enum { LISTENER = 3, MOST = 1024 };
enum kind { NOBODY, LISTENS, HANDOFF_LISTENS, CLIENT, BROKER };

static struct peer {
	enum kind kind;
	int passed;         /* of a broker: the connection whose offer comes next, 0: none */
	unsigned char token[RP_TOKEN];
	size_t have;
	unsigned char data[RP_ROOM];
} *peers[MOST];

static int set;
static unsigned char identity[RP_ROOM];
static size_t identity_size;

static const char *env(const char *name)
{
	const char *v = getenv(name);
	return v ? v : "";
}

static size_t slurp(const char *path, void *to, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, to, room);
	if (n < 0)
		loop_die("read %s", path);
	close(fd);
	return (size_t)n;
}

/* What a probe is answered with, behind its nonce. */
static void know_identity(void)
{
	char exe[PATH_MAX], sums_path[PATH_MAX + 8], boot[64];
	unsigned char sums[64], endpoint[512];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	if (n < 0)
		loop_die("/proc/self/exe");
	exe[n] = 0;
	snprintf(sums_path, sizeof sums_path, "%s.sums", exe);
	if (slurp(sums_path, sums, sizeof sums) != sizeof sums)
		loop_die("too short: %s", sums_path);
	size_t boot_size = slurp("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
	while (boot_size > 0 && boot[boot_size - 1] <= ' ')
		boot_size--;
	size_t e = rp_text(endpoint, 0, 1, env("RUNNING_PROCESS_BROKER_V1_BACKEND_NAMESPACE"));
	e = rp_text(endpoint, e, 2, env("RUNNING_PROCESS_BROKER_V1_BACKEND_PIPE"));
	size_t at = sb_number(identity, 0, 1, (uint64_t)getpid());
	at = rp_text(identity, at, 2, exe);
	at = rp_bytes(identity, at, 4, endpoint, e);
	at = rp_bytes(identity, at, 6, boot, boot_size);
	at = rp_text(identity, at, 8, "blake3");
	at = rp_bytes(identity, at, 9, sums, 32);
	identity_size = rp_bytes(identity, at, 3, sums + 32, 32);
}

static void watch(int fd, enum kind kind)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
	if (fd < 0 || fd >= MOST || epoll_ctl(set, EPOLL_CTL_ADD, fd, &ev) < 0)
		loop_die("cannot serve descriptor %d", fd);
	if (!peers[fd] && !(peers[fd] = malloc(sizeof **peers)))
		loop_die("malloc");
	peers[fd]->kind = kind;
	peers[fd]->have = 0;
	peers[fd]->passed = 0;
}

static void forget(int fd)
{
	peers[fd]->kind = NOBODY;
	epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL); /* the broker may still have the same connection */
	close(fd);
}

/* Answers one request; the connection may be non-blocking, and an answer is small. */
static void answer(int fd, const unsigned char *body, size_t size)
{
	unsigned char out[RP_ROOM], payload[RP_ROOM] = {'x'};
	const unsigned char *asked = NULL;
	size_t n = sb_find(body, size, 4, &asked), len = 1;
	unsigned protocol = (unsigned)sb_find(body, size, 3, NULL);
	int quit = protocol == RP_BENCH && n > 0 && asked[0] == 'q';
	if (protocol == RP_PROBE && n == 32) {
		memcpy(payload, asked, 32);
		memcpy(payload + 32, identity, identity_size);
		len = 32 + identity_size;
	}
	n = rp_frame(out, RP_RESPONSE, protocol, sb_find(body, size, 5, NULL), payload, len);
	(void)!send(fd, out, n, MSG_NOSIGNAL);
	if (quit)
		exit(0);
}

/* Reads what is missing of one frame, and no byte more: its size when it is complete, 0 before, -1 at the end. */
static ssize_t more(int fd, struct peer *p)
{
	for (;;) {
		size_t want = rp_size(p->data, p->have);
		if (want && p->have == want)
			return (ssize_t)want;
		ssize_t r = recv(fd, p->data + p->have, (want ? want : RP_HEADER) - p->have, MSG_DONTWAIT);
		if (r < 0 && errno == EAGAIN)
			return 0;
		if (r <= 0)
			return -1;
		p->have += (size_t)r;
	}
}

/* Receives a token and the connection that comes with it. False: nothing is there, or the broker is gone. */
static int receive(int fd, struct peer *p)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec v = {p->token, RP_TOKEN};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
	ssize_t r = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (r < 0 && errno == EAGAIN)
		return 0;
	struct cmsghdr *c = r > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (r != RP_TOKEN || !c || c->cmsg_type != SCM_RIGHTS) {
		forget(fd);
		return 0;
	}
	memcpy(&p->passed, CMSG_DATA(c), sizeof p->passed);
	return 1;
}

/* Takes connections over. */
static void take(int fd, struct peer *p)
{
	while (p->passed || receive(fd, p)) {
		ssize_t size = more(fd, p);
		if (size < 0) {
			close(p->passed);
			forget(fd);
		}
		if (size <= 0)
			return;
		const unsigned char *body = p->data + RP_HEADER, *offer = NULL, *token = NULL;
		size_t n = sb_find(body, (size_t)size - RP_HEADER, 4, &offer);
		uint64_t id = sb_find(offer, n, 4, NULL);
		if (sb_find(offer, n, 2, &token) != RP_TOKEN || memcmp(token, p->token, RP_TOKEN))
			loop_die("not the token that came with the connection");
		unsigned char ack[64], out[128];
		size_t at = rp_bytes(ack, 0, 1, p->token, RP_TOKEN);
		at = sb_number(ack, at, 2, 1);
		at = sb_number(ack, at, 4, id);
		rp_send(fd, out, rp_frame(out, RP_RESPONSE, RP_HANDOFF, id, ack, at));
		watch(p->passed, CLIENT);
		p->passed = 0;
		p->have = 0;
	}
}

static void serve(int fd, struct peer *p)
{
	for (ssize_t size; (size = more(fd, p)) != 0; p->have = 0) {
		if (size < 0) {
			forget(fd);
			return;
		}
		answer(fd, p->data + RP_HEADER, (size_t)size - RP_HEADER);
	}
}

int main(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	set = epoll_create1(EPOLL_CLOEXEC);
	strncpy(a.sun_path, env("RUNNING_PROCESS_BROKER_V1_HANDOFF_PIPE"), sizeof a.sun_path - 1);
	if (a.sun_path[0]) {
		int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (bind(l, (struct sockaddr *)&a, sizeof a) < 0 || listen(l, 128) < 0)
			loop_die("listen on %s", a.sun_path);
		watch(l, HANDOFF_LISTENS);
	}
	know_identity();
	watch(LISTENER, LISTENS);
	for (;;) {
		struct epoll_event ready[64];
		int n = epoll_wait(set, ready, 64, -1);
		for (int i = 0; i < n; i++) {
			int fd = ready[i].data.fd;
			struct peer *p = peers[fd];
			if (p->kind == LISTENS || p->kind == HANDOFF_LISTENS) {
				int caller = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
				if (caller >= 0)
					watch(caller, p->kind == LISTENS ? CLIENT : BROKER);
			} else if (p->kind == BROKER) {
				take(fd, p);
			} else if (p->kind == CLIENT) {
				serve(fd, p);
			}
		}
	}
}
