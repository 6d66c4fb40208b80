/* SPDX-License-Identifier: Apache-2.0 */
/* Mach messages as packets on AF_UNIX SEQPACKET sockets, built and read by offset: sections 1 and 12 of the Mach bootstrap reference.
 * Nothing here is taken from the Go side. */
#ifndef WIRE_H
#define WIRE_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOVE_RECEIVE = 16, MOVE_SEND, MOVE_SEND_ONCE, COPY_SEND, MAKE_SEND, MAKE_SEND_ONCE };
enum { TYPE_PORT, TYPE_MEMORY };
enum { MIG_TYPE = -300, MIG_REPLY = -301, MIG_BAD_ID = -303, MIG_BAD_ARGS = -304, MIG_DIED = -308 };
enum { WIRE_MAX = 65536, WIRE_FDS = 253, PATIENCE_MS = 30000 };

#define COMPLEX 0x80000000u

static const unsigned char wire_ndr[8] = {0, 0, 0, 0, 1, 0, 0, 0};

/* A message, to be sent or that came. Descriptors of one that came belong to it until they are taken. */
struct packet {
	size_t n;
	int fds, fd[WIRE_FDS];
	unsigned char b[WIRE_MAX];
};

static inline void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static inline void fail(const char *what, long got, long want)
{
	fprintf(stderr, "%s: %ld, not %ld\n", what, got, want);
	exit(1);
}

static inline uint32_t get32(const struct packet *p, size_t at)
{
	const unsigned char *b = p->b + at;
	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t get64(const struct packet *p, size_t at)
{
	return get32(p, at) | (uint64_t)get32(p, at + 4) << 32;
}

static inline void set32(struct packet *p, size_t at, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p->b[at + (size_t)i] = (unsigned char)(v >> 8 * i);
}

static inline void put32(struct packet *p, uint32_t v)
{
	set32(p, p->n, v);
	p->n += 4;
}

static inline void put64(struct packet *p, uint64_t v)
{
	put32(p, (uint32_t)v);
	put32(p, (uint32_t)(v >> 32));
}

static inline void put_ndr(struct packet *p)
{
	memcpy(p->b + p->n, wire_ndr, 8);
	p->n += 8;
}

/* A string in a fixed field, filled up with zeros. */
static inline void put_field(struct packet *p, const char *s, size_t size)
{
	memset(p->b + p->n, 0, size);
	memcpy(p->b + p->n, s, strnlen(s, size));
	p->n += size;
}

/* The header; the size is set when the message is sent. */
static inline void put_header(struct packet *p, uint32_t bits, uint32_t remote, uint32_t local, int32_t id)
{
	p->n = 0;
	p->fds = 0;
	put32(p, bits);
	put32(p, 0);
	put32(p, remote);
	put32(p, local);
	put32(p, 0);
	put32(p, (uint32_t)id);
}

static inline int32_t id_of(const struct packet *p) { return (int32_t)get32(p, 20); }
static inline int is_complex(const struct packet *p) { return (get32(p, 0) & COMPLEX) != 0; }

/* A port descriptor; fd -1 is the null port, -2 a dead one. What is sent stays ours. */
static inline void put_port(struct packet *p, int fd, int disposition)
{
	if (fd >= 0)
		p->fd[p->fds++] = fd;
	put32(p, fd >= 0 ? (uint32_t)p->fds : fd == -1 ? 0 : 0xffffffffu);
	put32(p, 0);
	put32(p, (uint32_t)disposition << 16 | (uint32_t)TYPE_PORT << 24);
}

/* A descriptor of out-of-line memory: the address is the position of a sealed memfd. */
static inline void put_memory(struct packet *p, int fd, uint32_t size)
{
	if (fd >= 0)
		p->fd[p->fds++] = fd;
	put64(p, fd >= 0 ? (uint64_t)p->fds : 0);
	put32(p, 0 | 1u << 8 | (uint32_t)TYPE_MEMORY << 24);
	put32(p, size);
}

static inline int type_at(const struct packet *p, size_t at) { return p->b[at + 11]; }
static inline int disposition_at(const struct packet *p, size_t at) { return p->b[at + 10]; }

/* Takes the descriptor that the field at an offset names; -1: null, dead, or already taken. */
static inline int take_fd(struct packet *p, size_t at)
{
	uint32_t name = get32(p, at);
	if (name == 0 || name > (uint32_t)p->fds)
		return -1;
	int fd = p->fd[name - 1];
	p->fd[name - 1] = -1;
	return fd;
}

/* Closes what nobody took. */
static inline void drop_fds(struct packet *p)
{
	for (int i = 0; i < p->fds; i++)
		if (p->fd[i] >= 0)
			close(p->fd[i]);
	p->fds = 0;
}

/* Sends bytes with descriptors, whatever they say. A user who may not have more on the way waits, unless flags say otherwise. */
static inline int send_raw(int to, const void *b, size_t n, const int *fd, int fds, int flags)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(WIRE_FDS * sizeof(int))];
	} control;
	struct iovec v = {.iov_base = (void *)b, .iov_len = n};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	if (fds > 0) {
		memset(&control, 0, sizeof control);
		m.msg_control = control.room;
		m.msg_controllen = CMSG_SPACE((size_t)fds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((size_t)fds * sizeof(int));
		memcpy(CMSG_DATA(c), fd, (size_t)fds * sizeof(int));
	}
	for (int waited = 0;;) {
		if (sendmsg(to, &m, flags | MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno == ETOOMANYREFS && !(flags & MSG_DONTWAIT) && waited++ < PATIENCE_MS)
			usleep(1000);
		else if (errno != EINTR)
			return -1;
	}
}

static inline int send_packet(int to, struct packet *p, int flags)
{
	set32(p, 4, (uint32_t)p->n);
	return send_raw(to, p->b, p->n, p->fd, p->fds, flags);
}

/* Reads a message: 1 one is there, 0 the other side is gone or it is no message, -1 errno. */
static inline int recv_packet(int from, struct packet *p, int flags)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(WIRE_FDS * sizeof(int))];
	} control;
	struct iovec v = {.iov_base = p->b, .iov_len = sizeof p->b};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
	ssize_t r;
	p->fds = 0;
	p->n = 0;
	do
		r = recvmsg(from, &m, flags | MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == ECONNRESET ? 0 : -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			int n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(p->fd + p->fds, CMSG_DATA(c), (size_t)n * sizeof(int));
			p->fds += n;
		}
	p->n = (size_t)r;
	if (r < 24 || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || get32(p, 4) != p->n) {
		drop_fds(p);
		return 0;
	}
	return 1;
}

/* recv_packet that gives up after a while. */
static inline int await_packet(int from, struct packet *p)
{
	struct pollfd f = {.fd = from, .events = POLLIN};
	int r;
	do
		r = poll(&f, 1, PATIENCE_MS);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		errno = ETIMEDOUT;
	return r <= 0 ? -1 : recv_packet(from, p, 0);
}

/* A new port: the receive end, and a send end that duplicates share. */
static inline void make_port(int *receive, int *send)
{
	int s[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) < 0)
		die("socketpair");
	*receive = s[0];
	*send = s[1];
}

/* Memory that nobody can change any more, with a copy of the bytes. */
static inline int make_memory(const void *bytes, size_t size)
{
	int fd = memfd_create("out-of-line", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		die("memfd_create");
	for (size_t done = 0; done < size;) {
		ssize_t r = write(fd, (const char *)bytes + done, size - done);
		if (r < 0)
			die("write");
		done += (size_t)r;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		die("F_ADD_SEALS");
	return fd;
}

/* The bytes of memory that came; NULL if it is unsealed or has another size. To be unmapped, unless size is 0. */
static inline void *map_memory(int fd, size_t size)
{
	int seals = fcntl(fd, F_GET_SEALS), want = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	if (seals < 0 || (seals & want) != want || lseek(fd, 0, SEEK_END) != (off_t)size)
		return NULL;
	if (size == 0)
		return (void *)wire_ndr;
	void *b = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	return b == MAP_FAILED ? NULL : b;
}

#endif
