// SPDX-License-Identifier: Apache-2.0
// The backend's side of the handoff (reference section 10, steps 4 to 6).

#ifndef HANDOFF_H
#define HANDOFF_H

#include "backend.h"

enum { TOKEN_BYTES = 16, TOKEN_TTL_MS = 30000, SPENT = 1024 };

// Tokens that were accepted: each counts once.
static struct {
	pthread_mutex_t lock;
	uint8_t token[SPENT][TOKEN_BYTES];
	size_t count;
} spent = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool spend(const uint8_t *token) {
	bool fresh = true;
	pthread_mutex_lock(&spent.lock);
	for (size_t i = 0; i < spent.count && i < SPENT; i++)
		fresh = fresh && memcmp(spent.token[i], token, TOKEN_BYTES) != 0;
	if (fresh)
		memcpy(spent.token[spent.count++ % SPENT], token, TOKEN_BYTES);
	pthread_mutex_unlock(&spent.lock);
	return fresh;
}

// receive_passed reads the 16 unframed token bytes and the one descriptor that comes with them.
// 1, or 0 at the end of the stream, or -1 for anything else; nothing received stays open then.
static int receive_passed(int fd, uint8_t token[TOKEN_BYTES], int *passed) {
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec data = {token, TOKEN_BYTES};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
	                         .msg_controllen = sizeof control};
	ssize_t n;
	while ((n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
		;
	if (n <= 0)
		return n == 0 ? 0 : -1;
	int count = 0;
	*passed = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++, count++) {
			if (count > 0)
				close(*passed);
			memcpy(passed, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
		}
	}
	if (count == 1 && (message.msg_flags & MSG_CTRUNC) == 0 &&
	    read_all(fd, token + n, TOKEN_BYTES - (size_t)n))
		return 1;
	if (count > 0)
		close(*passed);
	note("handoff: %d descriptors with %zd bytes", count, n);
	return -1;
}

struct offer {
	struct part token, service;
	uint64_t correlation;
};

// parse_offer: NULL, or what is wrong with the frame.
static const char *parse_offer(struct part body, struct frame *frame, struct offer *offer) {
	struct field f;
	int got;
	memset(offer, 0, sizeof *offer);
	if (!parse_frame(body, frame))
		return "malformed frame";
	if (frame->version != 1)
		return "envelope_version is not v1";
	if (frame->kind != REQUEST)
		return "kind is not REQUEST";
	if (frame->protocol != HANDOFF)
		return "payload_protocol is not handoff";
	if (frame->encoding != 0)
		return "payload is compressed";
	struct part payload = frame->payload;
	while ((got = take_field(&payload, &f)) == 1) {
		if (f.number <= 4 && f.wire != (f.number == 2 || f.number == 3 ? 2 : 0))
			return "malformed HandoffOffer";
		if (f.number == 2)
			offer->token = f.bytes;
		else if (f.number == 3)
			offer->service = f.bytes;
		else if (f.number == 4)
			offer->correlation = f.value;
	}
	if (got != 0)
		return "malformed HandoffOffer";
	if (frame->id != offer->correlation)
		return "frame request_id does not match HandoffOffer correlation_id";
	return NULL;
}

// check_token fills detail with the refusal, or leaves it empty; success spends the token.
static void check_token(struct part offered, const uint8_t *token, uint64_t age_ms, char *detail, size_t room) {
	detail[0] = '\0';
	if (offered.size == 0)
		snprintf(detail, room, "handoff token is missing");
	else if (offered.size != TOKEN_BYTES)
		snprintf(detail, room, "handoff token length was %zu bytes; expected %d", offered.size, TOKEN_BYTES);
	else if (memcmp(offered.data, token, TOKEN_BYTES) != 0)
		snprintf(detail, room, "handoff token mismatch");
	else if (age_ms >= TOKEN_TTL_MS)
		snprintf(detail, room, "handoff token expired");
	else if (!spend(token))
		snprintf(detail, room, "handoff token is not pending");
}

static bool misbehave(const char *how) { return strcmp(self.mode.handoff, how) == 0; }

// acknowledge answers the offer; detail "" accepts.
static bool acknowledge(int fd, const struct frame *frame, const struct offer *offer, const char *detail) {
	struct bytes payload = {0};
	uint64_t correlation = offer->correlation + (misbehave("id") ? 1 : 0);
	if (misbehave("token"))
		put_field(&payload, 1, "0123456789abcdef", TOKEN_BYTES);
	else
		put_field(&payload, 1, offer->token.data, offer->token.size);
	put_number(&payload, 2, detail[0] == '\0');
	put_text(&payload, 3, detail);
	put_number(&payload, 4, correlation);
	bool sent = answer(fd, frame, misbehave("kind") ? EVENT : RESPONSE, offer->correlation, payload);
	free(payload.data);
	return sent;
}

// accept_one takes one handoff from the broker's connection; false when that connection is over.
static bool accept_one(int fd, struct bytes *body) {
	uint8_t token[TOKEN_BYTES];
	struct frame frame;
	struct offer offer;
	char detail[128];
	int passed;
	if (receive_passed(fd, token, &passed) != 1)
		return false;
	uint64_t received = now_ms(CLOCK_MONOTONIC);
	if (misbehave("crash"))
		crash();
	const char *fault = misbehave("close") ? "closed by mode" : NULL;
	if (fault == NULL && !read_frame(fd, body))
		fault = "no offer";
	if (fault == NULL)
		fault = parse_offer((struct part){body->data, body->size}, &frame, &offer);
	if (fault != NULL) {
		note("handoff: %s", fault);
		close(passed);
		return false;
	}
	check_token(offer.token, token, now_ms(CLOCK_MONOTONIC) - received, detail, sizeof detail);
	if (detail[0] == '\0' && misbehave("refuse"))
		snprintf(detail, sizeof detail, "refused by mode");
	note("handoff %llu for %.*s: %s", (unsigned long long)offer.correlation, (int)offer.service.size,
	     offer.service.data == NULL ? "" : (const char *)offer.service.data, detail[0] ? detail : "accepted");
	sleep_ms(self.mode.handoff_late);
	if (misbehave("silent"))
		return true; // keeps the connection, and says nothing
	bool sent = acknowledge(fd, &frame, &offer, detail);
	if (!sent || detail[0] != '\0' || misbehave("drop")) {
		close(passed);
		return sent;
	}
	if (misbehave("blocking")) // the flag is shared with the broker's own descriptor
		fcntl(passed, F_SETFL, fcntl(passed, F_GETFL) & ~O_NONBLOCK);
	self.handoffs++;
	self.open++;
	// The mark tells serve_connection how this connection came.
	start_thread(serve_connection, passed | 1 << 30);
	return true;
}

// serve_handoffs takes one handoff after another from a broker's connection.
static void *serve_handoffs(void *argument) {
	int fd = (int)(intptr_t)argument;
	struct bytes body = {0};
	while (accept_one(fd, &body))
		;
	free(body.data);
	close(fd);
	self.open--;
	return NULL;
}

#endif
