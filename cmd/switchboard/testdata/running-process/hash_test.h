// SPDX-License-Identifier: Apache-2.0
// Known answers for hash.h.

#ifndef HASH_TEST_H
#define HASH_TEST_H

#include <stdio.h>

#include "hash.h"

static void check_hash(const char *what, const uint8_t hash[HASH_BYTES], const char *want, int *failures) {
	char hex[2 * HASH_BYTES + 1];
	for (int i = 0; i < HASH_BYTES; i++)
		sprintf(hex + 2 * i, "%02x", hash[i]);
	if (strcmp(hex, want) != 0)
		printf("FAIL %s: got %s, want %s\n", what, hex, want), ++*failures;
}

// selftest checks the hashes against their published vectors and those of the reference.
static int selftest(void) {
	static const struct {
		size_t size;
		const char *hash;
	} known[] = {
		{0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"},
		{1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"},
		{1023, "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11"},
		{1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"},
		{1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"},
		{2048, "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a"},
		{31744, "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47"},
	};
	static uint8_t data[31744];
	uint8_t out[HASH_BYTES];
	int failures = 0;
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i % 251);
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		char what[32];
		blake3(data, known[i].size, out);
		snprintf(what, sizeof what, "BLAKE3 of %zu bytes", known[i].size);
		check_hash(what, out, known[i].hash, &failures);
	}
	const char *image = "daemon image bytes", *long_one = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
	blake3((const uint8_t *)image, strlen(image), out);
	check_hash("BLAKE3 of the image", out, "80643bdc949e6570f8032059d68314e4fb9ece94d168d1a5ef726b1a47e678ea", &failures);
	sha256((const uint8_t *)image, strlen(image), out);
	check_hash("SHA-256 of the image", out, "d5382a4199fb8d1509cbe54e58ef50d44b5af771b4211d14cebbc0ca5367b4f9", &failures);
	sha256(data, 0, out);
	check_hash("SHA-256 of nothing", out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", &failures);
	sha256((const uint8_t *)long_one, strlen(long_one), out);
	check_hash("SHA-256 of 56 bytes", out, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1", &failures);
	printf("hashes: %d failed\n", failures);
	return failures > 0;
}

#endif
