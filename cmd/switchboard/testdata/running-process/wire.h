// SPDX-License-Identifier: Apache-2.0
// Frames of running-process v1 (reference sections 2 and 3) on a socket, and the little protobuf they need.

#ifndef WIRE_H
#define WIRE_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BODY_CAP = 16 * 1024 * 1024 };
enum { REQUEST, RESPONSE, EVENT };
enum { PROBE = 0xB232, HANDOFF = 0xD0FF, TEST_LANE = 0xF415 };

// A growing byte string; it owns data.
struct bytes {
	uint8_t *data;
	size_t size, room;
};

static void put(struct bytes *b, const void *data, size_t size) {
	if (b->size + size > b->room) {
		b->room = (b->size + size) * 2;
		b->data = realloc(b->data, b->room);
		if (b->data == NULL)
			abort();
	}
	if (size > 0)
		memcpy(b->data + b->size, data, size);
	b->size += size;
}

static void put_varint(struct bytes *b, uint64_t value) {
	for (; value > 0x7f; value >>= 7)
		put(b, &(uint8_t){(uint8_t)(value | 0x80)}, 1);
	put(b, &(uint8_t){(uint8_t)value}, 1);
}

// put_number and put_field leave out defaults, as proto3 does.
static void put_number(struct bytes *b, int field, uint64_t value) {
	if (value == 0)
		return;
	put_varint(b, (uint64_t)field << 3);
	put_varint(b, value);
}

static void put_field(struct bytes *b, int field, const void *data, size_t size) {
	if (size == 0)
		return;
	put_varint(b, (uint64_t)field << 3 | 2);
	put_varint(b, size);
	put(b, data, size);
}

static void put_text(struct bytes *b, int field, const char *text) { put_field(b, field, text, strlen(text)); }

// A part of a message under inspection; it owns nothing.
struct part {
	const uint8_t *data;
	size_t size;
};

static bool take_varint(struct part *p, uint64_t *value) {
	*value = 0;
	for (int shift = 0; shift < 70 && p->size > 0; shift += 7) {
		uint8_t byte = *p->data;
		p->data++, p->size--;
		if (shift == 63 && byte > 1)
			return false;
		*value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return true;
	}
	return false;
}

// One field: number, and value or bytes by its wire type (0 or 2; 1 and 5 are passed over as bytes).
struct field {
	uint64_t number, value;
	int wire;
	struct part bytes;
};

// take_field takes the next field: 1, or 0 at the end, or -1 for bytes that are no message.
static int take_field(struct part *p, struct field *f) {
	uint64_t key, size;
	if (p->size == 0)
		return 0;
	if (!take_varint(p, &key) || key >> 3 == 0 || key > UINT32_MAX)
		return -1;
	f->number = key >> 3;
	f->wire = key & 7;
	f->value = 0;
	if (f->wire == 0)
		return take_varint(p, &f->value) ? 1 : -1;
	if (f->wire == 2) {
		if (!take_varint(p, &size))
			return -1;
	} else if (f->wire == 1 || f->wire == 5) {
		size = f->wire == 1 ? 8 : 4;
	} else {
		return -1; // groups: nobody sends them here
	}
	if (size > p->size)
		return -1;
	f->bytes = (struct part){p->data, size};
	p->data += size, p->size -= size;
	return 1;
}

struct frame {
	uint64_t version, kind, protocol, id, encoding, deadline;
	struct part payload, traceparent, tracestate;
};

static bool parse_frame(struct part body, struct frame *out) {
	struct field f;
	int got;
	memset(out, 0, sizeof *out);
	while ((got = take_field(&body, &f)) == 1) {
		uint64_t *numbers[] = {0, &out->version, &out->kind, &out->protocol, 0, &out->id, &out->encoding, &out->deadline};
		struct part *parts[] = {0, 0, 0, 0, &out->payload, 0, 0, 0, &out->traceparent, &out->tracestate};
		if (f.number < 8 && numbers[f.number] != NULL) {
			if (f.wire != 0)
				return false;
			*numbers[f.number] = f.value;
		} else if (f.number < 10) {
			if (f.wire != 2)
				return false;
			*parts[f.number] = f.bytes;
		}
	}
	return got == 0;
}

// wait_for waits until fd can do events; a handed-over connection may be non-blocking, and stays what it is.
static void wait_for(int fd, short events) { poll(&(struct pollfd){.fd = fd, .events = events}, 1, -1); }

// read_all reads size bytes: false at the end of the stream or an error.
static bool read_all(int fd, void *data, size_t size) {
	for (size_t done = 0; done < size;) {
		ssize_t n = recv(fd, (char *)data + done, size - done, 0);
		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			wait_for(fd, POLLIN);
		else if (n == 0 || errno != EINTR)
			return false;
	}
	return true;
}

static bool write_all(int fd, const void *data, size_t size) {
	for (size_t done = 0; done < size;) {
		ssize_t n = send(fd, (const char *)data + done, size - done, MSG_NOSIGNAL);
		if (n >= 0)
			done += (size_t)n;
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			wait_for(fd, POLLOUT);
		else if (errno != EINTR)
			return false;
	}
	return true;
}

// read_frame reads one frame's body into b, which is emptied first.
static bool read_frame(int fd, struct bytes *b) {
	uint8_t header[5];
	if (!read_all(fd, header, sizeof header) || header[0] != 1)
		return false;
	size_t size = header[1] | (size_t)header[2] << 8 | (size_t)header[3] << 16 | (size_t)header[4] << 24;
	if (size > BODY_CAP)
		return false;
	b->size = 0;
	if (size > b->room) {
		b->room = size;
		b->data = realloc(b->data, size);
		if (b->data == NULL)
			abort();
	}
	b->size = size;
	return read_all(fd, b->data, size);
}

// answer sends one frame: the envelope of request with another kind, id and payload; trace fields are echoed.
static bool answer(int fd, const struct frame *request, uint64_t kind, uint64_t id, struct bytes payload) {
	struct bytes body = {0}, out = {0};
	put_number(&body, 1, 1);
	put_number(&body, 2, kind);
	put_number(&body, 3, request->protocol);
	put_field(&body, 4, payload.data, payload.size);
	put_number(&body, 5, id);
	put_field(&body, 8, request->traceparent.data, request->traceparent.size);
	put_field(&body, 9, request->tracestate.data, request->tracestate.size);
	uint32_t n = (uint32_t)body.size;
	put(&out, (uint8_t[]){1, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24)}, 5);
	put(&out, body.data, body.size);
	bool sent = write_all(fd, out.data, out.size);
	free(body.data);
	free(out.data);
	return sent;
}

#endif
