/* SPDX-License-Identifier: Apache-2.0 */
/* Bootstrap calls in every dialect, one packet each: sections 2 and 3 of the Mach bootstrap reference. */
#ifndef BOOTSTRAP_H
#define BOOTSTRAP_H

#include "wire.h"

#include <sys/un.h>

enum { NOT_PRIVILEGED = 1100, NAME_IN_USE, UNKNOWN_SERVICE, SERVICE_ACTIVE, BAD_COUNT, NO_MEMORY, NO_CHILDREN };

/* Dialects: the seed's; its ids 700 and 701; launchd 106; launchd 257 to 329; launchd 842. */
enum dialect { SEED, CUSTOM, OLD, NEW, NEWEST, DIALECTS };

/* A control connection; one thread at a time uses it. */
struct bootstrap {
	int fd;
	uint32_t token;
	struct packet m; /* the request, then its reply */
};

/* A control connection through a bootstrap port: the port takes one end of a pair of ours (message 710). */
static inline void bs_through(struct bootstrap *b, int port)
{
	int ours, theirs;
	make_port(&ours, &theirs);
	put_header(&b->m, COMPLEX | COPY_SEND, 1, 0, 710);
	put32(&b->m, 1);
	put_port(&b->m, theirs, MOVE_SEND);
	if (send_packet(port, &b->m, 0) < 0)
		die("connect through a bootstrap port");
	close(theirs);
	b->fd = ours;
	b->token = 0x1000;
}

/* A control connection: by a path, or as the environment says, by its "path" or through its "port". */
static inline void bs_open(struct bootstrap *b, const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	const char *port = getenv("SWITCHBOARD_BOOTSTRAP_FD");
	if (!strcmp(path, "port") && port) {
		bs_through(b, atoi(port));
		return;
	}
	if (!strcmp(path, "path") && getenv("SWITCHBOARD_BOOTSTRAP"))
		path = getenv("SWITCHBOARD_BOOTSTRAP");
	if (strlen(path) >= sizeof a.sun_path) {
		errno = ENAMETOOLONG;
		die(path);
	}
	strcpy(a.sun_path, path);
	b->token = 0x1000;
	b->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (b->fd < 0 || connect(b->fd, (struct sockaddr *)&a, sizeof a) < 0)
		die(path);
}

static inline void bs_begin(struct bootstrap *b, int complex, int32_t id)
{
	put_header(&b->m, (complex ? COMPLEX : 0) | MAKE_SEND_ONCE << 8 | COPY_SEND, 1, ++b->token, id);
}

/* Sends the request and reads its reply into the same packet. Returns the code of a reply of 36 bytes, and 0 for one of want bytes that is complex
 * or not; any other reply ends the program. */
static inline int bs_end(struct bootstrap *b, size_t want, int complex)
{
	int32_t id = id_of(&b->m);
	if (send_packet(b->fd, &b->m, 0) < 0)
		die("send a request");
	int r = await_packet(b->fd, &b->m);
	if (r <= 0)
		die(r < 0 ? "await a reply" : "the broker closed the connection");
	if (get32(&b->m, 8) != b->token)
		fail("token of a reply", get32(&b->m, 8), b->token);
	if (id_of(&b->m) != id + 100)
		fail("id of a reply", id_of(&b->m), id + 100);
	if (get32(&b->m, 12) != 0 || get32(&b->m, 16) != 0)
		fail("local port and reserved field of a reply", get32(&b->m, 12) | get32(&b->m, 16), 0);
	if ((get32(&b->m, 0) & ~COMPLEX) != MOVE_SEND_ONCE)
		fail("bits of a reply", get32(&b->m, 0) & ~COMPLEX, MOVE_SEND_ONCE);
	if (b->m.n == 36 && !is_complex(&b->m)) {
		if (memcmp(b->m.b + 24, wire_ndr, 8) != 0)
			fail("NDR of a reply", b->m.b[28], 1);
		int code = (int)get32(&b->m, 32);
		if (b->m.fds > 0)
			fail("descriptors of a reply that is a code", b->m.fds, 0);
		if (code == 0 && want != 36)
			fail("size of a success", 36, (long)want);
		return code;
	}
	if (b->m.n != want || is_complex(&b->m) != complex)
		fail("size of a reply", (long)b->m.n, (long)want);
	return 0;
}

/* The end of a call that answers with a port. */
static inline int bs_end_port(struct bootstrap *b, size_t want, int disposition, int *port)
{
	int code = bs_end(b, want, 1);
	if (code)
		return code;
	if (get32(&b->m, 24) != 1 || type_at(&b->m, 28) != TYPE_PORT || b->m.fds != 1)
		fail("descriptors of a port reply", get32(&b->m, 24), 1);
	if (disposition_at(&b->m, 28) != disposition)
		fail("disposition of a port reply", disposition_at(&b->m, 28), disposition);
	*port = take_fd(&b->m, 28);
	if (*port < 0)
		fail("position in a port reply", get32(&b->m, 28), 1);
	return 0;
}

static inline void put_name(struct bootstrap *b, enum dialect d, const char *name)
{
	if (d == SEED || d == CUSTOM)
		put32(&b->m, (uint32_t)strlen(name));
	put_field(&b->m, name, 128);
}

/* Takes the receive right. flags count from NEWEST on; uuid may be NULL. */
static inline int bs_check_in(struct bootstrap *b, enum dialect d, const char *name, uint64_t flags, int *receive, unsigned char uuid[16])
{
	bs_begin(b, 0, d == SEED ? 400 : 402);
	put_ndr(&b->m);
	put_name(b, d, name);
	if (d == NEWEST)
		put64(&b->m, flags);
	int code = bs_end_port(b, d == NEWEST ? 64 : 40, MOVE_RECEIVE, receive);
	if (!code && d == NEWEST && uuid)
		memcpy(uuid, b->m.b + 48, 16);
	return code;
}

/* Registers a send right; -1 is the null port, -2 a dead one. */
static inline int bs_register(struct bootstrap *b, enum dialect d, const char *name, uint64_t flags, int port)
{
	bs_begin(b, 1, d == SEED ? 401 : d == CUSTOM ? 700 : 403);
	put32(&b->m, 1);
	put_port(&b->m, port, COPY_SEND);
	put_ndr(&b->m);
	put_name(b, d, name);
	if (d == NEWEST)
		put64(&b->m, flags);
	return bs_end(b, 36, 0);
}

/* Gets a send right. pid and flags count from NEW on, the instance in NEWEST. */
static inline int bs_look_up(struct bootstrap *b, enum dialect d, const char *name, int32_t pid, uint64_t flags, const unsigned char uuid[16], int *send)
{
	static const unsigned char none[16];
	bs_begin(b, 0, d == SEED ? 402 : d == CUSTOM ? 701 : 404);
	put_ndr(&b->m);
	put_name(b, d, name);
	if (d == NEW || d == NEWEST)
		put32(&b->m, (uint32_t)pid);
	if (d == NEWEST) {
		memcpy(b->m.b + b->m.n, uuid ? uuid : none, 16);
		b->m.n += 16;
	}
	if (d == NEW || d == NEWEST)
		put64(&b->m, flags);
	return bs_end_port(b, 40, COPY_SEND, send);
}

static inline int bs_create_service(struct bootstrap *b, const char *name, int *send)
{
	bs_begin(b, 0, 410);
	put_ndr(&b->m);
	put_field(&b->m, name, 128);
	return bs_end_port(b, 40, COPY_SEND, send);
}

/* Looks several names up; ports are -1 for those that are unknown. all is whether none is. */
static inline int bs_look_up_array(struct bootstrap *b, const char *const *names, int count, int *ports, int *all)
{
	char fields[32][128] = {{0}};
	for (int i = 0; i < count; i++)
		strncpy(fields[i], names[i], 127);
	int memory = make_memory(fields, (size_t)count * 128);
	bs_begin(b, 1, 405);
	put32(&b->m, 1);
	put_memory(&b->m, memory, (uint32_t)count * 128);
	put_ndr(&b->m);
	put32(&b->m, (uint32_t)count);
	int code = bs_end(b, 60, 1);
	close(memory);
	if (code)
		return code;
	/* One descriptor of out-of-line ports: its memory holds the positions of those that follow. */
	if (get32(&b->m, 24) != 1 || type_at(&b->m, 28) != 2 || (int)get32(&b->m, 40) != count)
		fail("ports of look_up_array", get32(&b->m, 40), count);
	int list = take_fd(&b->m, 28);
	uint32_t *positions = map_memory(list, (size_t)count * 4);
	if (!positions)
		die("memory of look_up_array");
	for (int i = 0; i < count; i++) {
		ports[i] = -1;
		if (positions[i] > 0 && positions[i] <= (uint32_t)b->m.fds) {
			ports[i] = b->m.fd[positions[i] - 1];
			b->m.fd[positions[i] - 1] = -1;
		}
	}
	close(list);
	*all = (int)get32(&b->m, 56);
	drop_fds(&b->m);
	return 0;
}

/* A namespace of its own below this one, as long as the requestor port lives. Returns its bootstrap port. */
static inline int bs_subset(struct bootstrap *b, enum dialect d, int requestor, int *port)
{
	bs_begin(b, 1, d == SEED ? 405 : 409);
	put32(&b->m, 1);
	put_port(&b->m, requestor, MAKE_SEND);
	return bs_end_port(b, 40, MAKE_SEND, port);
}

static inline int bs_parent(struct bootstrap *b, enum dialect d, int *port)
{
	bs_begin(b, 0, d == SEED ? 404 : 406);
	return bs_end_port(b, 40, MAKE_SEND, port);
}

static inline int bs_root(struct bootstrap *b, int *port)
{
	bs_begin(b, 0, 436);
	return bs_end_port(b, 40, MOVE_SEND, port);
}

static inline int bs_unprivileged(struct bootstrap *b, int *port)
{
	bs_begin(b, 0, 401);
	return bs_end_port(b, 40, MAKE_SEND, port);
}

/* A call that is a header and perhaps zeros, of which only the code is of interest. */
static inline int bs_bare(struct bootstrap *b, int32_t id, size_t size)
{
	bs_begin(b, 0, id);
	if (size >= 32) {
		put_ndr(&b->m);
		memset(b->m.b + b->m.n, 0, size - b->m.n);
		memcpy(b->m.b + b->m.n, "a", size > 32 ? 1 : 0);
		b->m.n = size;
	}
	return bs_end(b, 36, 0);
}

#endif
