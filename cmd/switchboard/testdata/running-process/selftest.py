# SPDX-License-Identifier: Apache-2.0
"""Checks the codec, the rules and the hashes of this client against the vectors of the reference.

A vector of which this client has nothing to say (the broker's clocks and tables) is counted as left out
by name; one of a family that no check knows is a failure, so that no new one goes unseen.
"""

import json

import calls
import checks
import rules
import wire
from blake3_pure import blake3

# Not messages: policies of the broker, names and versions it checks, and its loader.
LEFT_OUT = ("sid-hash-arg-", "service-name-", "version-", "rate-limit-", "spawn-budget", "fd-pressure",
            "handoff-token-store", "handoff-ack-deadline", "readiness-backoff", "perf-gate", "disable-variable",
            "payload-protocol-ranges")
OTHER_HELLOS = ("doctor-hello", "bad-version-byte", "oversize-header", "truncated-", "silent-peer-", "empty-body-frame",
                "envelope-", "connection-")

# BLAKE3's own published test vectors: bytes i % 251, at the borders of chunks and trees.
BLAKE3_KNOWN = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    1023: "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
    1025: "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
    2048: "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a",
    31744: "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47",
}

FAMILIES = (
    ("golden-", checks.golden), ("framing-", checks.framing), ("hello-", checks.hello), (checks.BROKEN_FRAMES + OTHER_HELLOS, checks.hello),
    ("admin-", checks.admin), ("probe-", checks.probe), ("consumer-", checks.consumer), ("handoff-", checks.handoff), ("endpoint-", checks.endpoint),
    ("servicedef-", checks.servicedef), ("manifest-", checks.manifest), ("lifecycle-", checks.lifecycle), ("session-", checks.session),
    ("identity-hash-", checks.identity_hash), ("percentiles", checks.percentiles),
)


def run(path):
    """Checks all vectors in the file; prints a line for each failure and a sum. 0 or 1."""
    with open(path, encoding="utf-8") as file:
        vectors = {v["name"]: v for v in json.load(file)["vectors"]}
    passed, left_out, failures = 0, 0, []
    for size, want in BLAKE3_KNOWN.items():
        if blake3(bytes(i % 251 for i in range(size))).hex() != want:
            failures.append(f"BLAKE3 of {size} bytes")
    for name, vector in vectors.items():
        if name.startswith(LEFT_OUT):
            left_out += 1
            continue
        check = next((check for prefix, check in FAMILIES if name.startswith(prefix)), None)
        try:
            if check is None:
                raise checks.Failed("no check knows it")
            check(vector, bytes.fromhex(vector["hex"]), vector["expect"], vectors)
            passed += 1
        except (checks.Failed, wire.WireError, rules.Refusal, LookupError, ValueError, TypeError) as err:
            failures.append(f"{name}: {calls.describe_fault(err)}")
    for line in failures:
        print(f"FAIL {line}")
    print(f"vectors: {passed} passed, {len(failures)} failed, {left_out} not messages")
    return 1 if failures or not passed else 0
