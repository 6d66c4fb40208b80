/* SPDX-License-Identifier: Apache-2.0 */
/* The wire of running-process v1 as a few inline functions: what its raw client and its smallest backend need. */
#ifndef RP_H
#define RP_H

#include "sb.h"

#include <unistd.h>

enum { RP_CONTROL = 0, RP_PROBE = 0xB232, RP_HANDOFF = 0xD0FF, RP_BENCH = 0xF0B0 };
enum { RP_REQUEST, RP_RESPONSE, RP_EVENT };
enum { RP_HEADER = 5, RP_TOKEN = 16, RP_ROOM = 4096 };

/* Appends a field of bytes of any length. */
static inline size_t rp_bytes(unsigned char *p, size_t n, int field, const void *bytes, size_t len)
{
	size_t v = len;
	p[n++] = (unsigned char)(field << 3 | 2);
	for (; v >= 0x80; v >>= 7)
		p[n++] = (unsigned char)(v | 0x80);
	p[n++] = (unsigned char)v;
	memcpy(p + n, bytes, len);
	return n + len;
}

static inline size_t rp_text(unsigned char *p, size_t n, int field, const char *s)
{
	return rp_bytes(p, n, field, s, strlen(s));
}

/* Writes a frame with its header; returns its size. */
static inline size_t rp_frame(unsigned char *p, int kind, unsigned protocol, uint64_t id, const void *payload, size_t len)
{
	size_t n = sb_number(p, RP_HEADER, 1, 1);
	if (kind)
		n = sb_number(p, n, 2, (uint64_t)kind);
	if (protocol)
		n = sb_number(p, n, 3, protocol);
	n = rp_bytes(p, n, 4, payload, len);
	n = sb_number(p, n, 5, id);
	uint32_t body = (uint32_t)(n - RP_HEADER);
	p[0] = 1;
	memcpy(p + 1, &body, sizeof body);
	return n;
}

/* The size of the frame that begins at p, 0 while its header is not complete. */
static inline size_t rp_size(const unsigned char *p, size_t have)
{
	uint32_t body;
	if (have < RP_HEADER)
		return 0;
	memcpy(&body, p + 1, sizeof body);
	if (p[0] != 1 || body > RP_ROOM - RP_HEADER)
		loop_die("not a frame that is expected: version %d, %u bytes", p[0], body);
	return RP_HEADER + body;
}

/* What was read of a connection. */
struct rp_in {
	size_t have, used; /* used: the frame that was returned last */
	unsigned char data[RP_ROOM];
};

/* Waits for the next frame and returns the size of its body, which is at *body until the next call. */
static inline size_t rp_next(int fd, struct rp_in *in, const unsigned char **body)
{
	memmove(in->data, in->data + in->used, in->have -= in->used);
	for (in->used = 0; (in->used = rp_size(in->data, in->have)) == 0 || in->used > in->have;) {
		ssize_t r = recv(fd, in->data + in->have, sizeof in->data - in->have, 0);
		if (r <= 0)
			loop_die("the connection ended after %zu bytes", in->have);
		in->have += (size_t)r;
	}
	*body = in->data + RP_HEADER;
	return in->used - RP_HEADER;
}

static inline void rp_send(int fd, const unsigned char *p, size_t n)
{
	if (send(fd, p, n, MSG_NOSIGNAL) != (ssize_t)n)
		loop_die("cannot send %zu bytes", n);
}

/* Writes a Hello as the original's client does. */
static inline size_t rp_hello(unsigned char *out, const char *service, const char *version, unsigned capabilities)
{
	unsigned char p[256];
	size_t n = sb_number(p, 0, 1, 1);
	n = sb_number(p, n, 2, 1);
	n = rp_text(p, n, 3, service);
	n = rp_text(p, n, 4, version);
	n = rp_text(p, n, 5, "4.10.6");
	if (capabilities)
		n = sb_number(p, n, 6, capabilities);
	n = rp_text(p, n, 8, "hello");
	n = sb_number(p, n, 10, (uint64_t)getpid());
	n = rp_text(p, n, 11, "running-process");
	n = rp_text(p, n, 12, "4.10.6");
	return rp_frame(out, RP_REQUEST, RP_CONTROL, 1, p, n);
}

/* What a broker answers. */
struct rp_negotiated {
	char pipe[256];
	unsigned char token[RP_TOKEN];
	int has_token;
};

/* Reads the reply to a Hello; a refusal ends the process. */
static inline void rp_reply(const unsigned char *body, size_t size, struct rp_negotiated *out)
{
	const unsigned char *payload = NULL, *message = NULL, *bytes = NULL;
	size_t n = sb_find(body, size, 4, &payload);
	if (sb_find(body, size, 2, NULL) != RP_RESPONSE || sb_find(body, size, 3, NULL) != RP_CONTROL || !payload)
		loop_die("not a reply to a Hello");
	size_t len = sb_find(payload, n, 1, &message);
	if (!message) {
		len = sb_find(payload, n, 2, &message);
		n = sb_find(message, len, 1, &bytes);
		loop_die("refused: %.*s", (int)n, bytes ? (const char *)bytes : "");
	}
	n = sb_find(message, len, 3, &bytes);
	if (n == 0 || n >= sizeof out->pipe)
		loop_die("a backend_pipe of %zu bytes", n);
	memcpy(out->pipe, bytes, n);
	out->pipe[n] = 0;
	bytes = NULL;
	out->has_token = sb_find(message, len, 7, &bytes) == RP_TOKEN;
	if (out->has_token)
		memcpy(out->token, bytes, RP_TOKEN);
}

#endif
