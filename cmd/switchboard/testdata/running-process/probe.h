// SPDX-License-Identifier: Apache-2.0
// The answer to an identity probe (reference section 9), and the lies a mode asks for.

#ifndef PROBE_H
#define PROBE_H

#include "backend.h"

// put_process appends the DaemonProcess of section 9, lies included.
static void put_process(struct bytes *out) {
	struct bytes endpoint = {0};
	char path[PATH_MAX];
	const char *lie = self.mode.wrong;
	uint8_t hash[HASH_BYTES];
	bool wrong_endpoint = strcmp(lie, "endpoint") == 0, wrong_namespace = strcmp(lie, "namespace") == 0;
	put_number(out, 1, (uint64_t)getpid() + (strcmp(lie, "pid") == 0));
	put_text(out, 2, strcmp(lie, "path") == 0 ? "/nonexistent/backend" : self.exe);
	snprintf(path, sizeof path, "%s%s", env(ENV "BACKEND_PIPE"), wrong_endpoint ? "x" : "");
	put_text(&endpoint, 1, wrong_namespace ? "elsewhere" : env(ENV "BACKEND_NAMESPACE"));
	put_text(&endpoint, 2, path);
	if (strcmp(lie, "missing") != 0)
		put_field(out, 4, endpoint.data, endpoint.size);
	free(endpoint.data);
	put_number(out, 5, self.started_ms);
	put_text(out, 6, strcmp(lie, "boot") == 0 ? "00000000-0000-0000-0000-000000000000" : self.boot);
	if (self.mode.idle >= 0)
		put_number(out, 7, (uint64_t)(self.mode.idle + 999) / 1000);
	put_text(out, 8, strcmp(lie, "algorithm") == 0 ? "sha256" : "blake3");
	memcpy(hash, self.exe_blake3, sizeof hash);
	hash[0] ^= strcmp(lie, "hash") == 0;
	put_field(out, 9, hash, strcmp(lie, "size") == 0 ? HASH_BYTES - 1 : HASH_BYTES);
	if (!self.mode.plain) // the old field 3 comes last
		put_field(out, 3, self.exe_sha256, HASH_BYTES);
}

static bool answer_probe(int fd, const struct frame *request) {
	struct bytes payload = {0};
	const char *lie = self.mode.wrong;
	if (request->payload.size != 32)
		return false;
	put(&payload, request->payload.data, 32);
	payload.data[31] ^= strcmp(lie, "nonce") == 0;
	put_process(&payload);
	if (strcmp(lie, "short") == 0)
		payload.size = 31;
	bool sent = answer(fd, request, strcmp(lie, "kind") == 0 ? REQUEST : RESPONSE,
	                   request->id + (strcmp(lie, "id") == 0), payload);
	free(payload.data);
	long count = ++self.probes;
	if (self.mode.crash_probes >= 0 && count >= self.mode.crash_probes)
		crash();
	return sent;
}

#endif
