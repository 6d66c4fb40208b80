# SPDX-License-Identifier: Apache-2.0
"""What each role of running-process v1 checks in a message, with the original's words, and the names of endpoints.

Checks raise Refusal; its text is the reference's where that gives one.
"""

import os
import struct

import wire
from blake3_pure import blake3
from messages import CAP_HANDLE_PASSING, CONTROL, EVENT, HANDOFF, PROBE, REQUEST, RESPONSE, TOKEN_BYTES


class Refusal(Exception):
    pass


def demand(holds, text):
    if not holds:
        raise Refusal(text)


def parse_frame(body):
    return wire.decode("Frame", body)


def check_envelope(frame, kind, kind_text, protocol, protocol_text):
    """Version, kind, protocol, encoding: the first that differs is named (section 3)."""
    demand(frame["envelope_version"] == 1, "envelope_version is not v1")
    demand(frame["kind"] == kind, f"kind is not {kind_text}")
    demand(frame["payload_protocol"] == protocol, f"payload_protocol is not {protocol_text}")
    demand(frame["payload_encoding"] == 0, "payload is compressed")


def request_frame(protocol, payload, request_id, **more):
    """The encoded body of a REQUEST; more are fields of Frame."""
    fields = {"envelope_version": 1, "payload_protocol": protocol, "payload": payload, "request_id": request_id}
    return wire.encode("Frame", {**fields, **more})


def hello_result(frame):
    """The HelloReply in a parsed frame, one of its two results set."""
    check_envelope(frame, RESPONSE, "RESPONSE", CONTROL, "control-plane")
    reply = wire.decode("HelloReply", frame["payload"])
    demand(reply["negotiated"] is not None or reply["refused"] is not None, "reply holds no result")
    if reply["negotiated"] is not None:
        demand(reply["negotiated"]["backend_pipe"], "backend_pipe is empty")
    return reply


def check_response(frame, protocol, request_id):
    """The answer to a consumer request: id, protocol, kind, in that order (section 9)."""
    demand(frame["request_id"] == request_id, "request_id does not match the request")
    demand(frame["payload_protocol"] == protocol, "payload_protocol does not match the request")
    demand(frame["kind"] == RESPONSE, "kind is not RESPONSE")


def probe_request(nonce):
    """The body of an identity probe (section 9) for 32 random bytes."""
    return request_frame(PROBE, nonce, struct.unpack_from("<Q", nonce)[0])


def check_probe(body, nonce, expected=None):
    """The DaemonProcess a backend answered; expected is one whose identity it must have."""
    frame = parse_frame(body)
    demand(frame["envelope_version"] == 1, "envelope_version is not v1")
    demand(frame["kind"] == RESPONSE, "kind is not RESPONSE")
    demand(frame["payload_protocol"] == PROBE, "payload_protocol is not endpoint probe")
    demand(frame["request_id"] == struct.unpack_from("<Q", nonce)[0],
           "request_id does not match endpoint probe request")
    demand(frame["payload_encoding"] == 0, "payload is compressed")
    demand(len(frame["payload"]) >= len(nonce), "payload shorter than nonce")
    demand(frame["payload"][:len(nonce)] == nonce, "nonce does not match endpoint probe request")
    process = wire.decode("DaemonProcess", frame["payload"][len(nonce):])
    demand(process["ipc_endpoint"] is not None, "daemon process is missing ipc_endpoint")
    demand(process["exe_hash_algorithm"] == "blake3", "unsupported daemon executable hash algorithm "
           f"\"{process['exe_hash_algorithm']}\"; expected blake3")
    demand(len(process["exe_hash"]) == 32,
           f"daemon process exe_hash must be 32 bytes, got {len(process['exe_hash'])}")
    for field in ("pid", "exe_path", "exe_hash", "boot_id", "ipc_endpoint") if expected else ():
        demand(process[field] == expected[field], f"mismatch: {field}")
    return process


def check_backend_frame(frame, served):
    """What a backend takes from its endpoint: "probe" or "payload" (section 9)."""
    protocol = frame["payload_protocol"]
    if protocol == PROBE:
        demand(len(frame["payload"]) == 32, "nonce must be 32 bytes")
        return "probe"
    demand(protocol > 0x6FFF and protocol not in (0xAD01, 0xD0FF),
           f"unexpected first-party frame on backend endpoint (payload_protocol 0x{protocol:04X})")
    demand(protocol in served, f"frame for unserved payload protocol 0x{protocol:04X}")
    return "payload"


def offer_frame(token, service, correlation, request_id=None):
    """The body of a Unix HandoffOffer as the original writes it: field 1 is there, and 0 (section 10 step 5)."""
    offer = {"handle_value": 0, "token": token, "service_name": service, "correlation_id": correlation}
    payload = wire.encode("HandoffOffer", offer, explicit=("handle_value",))
    return request_frame(HANDOFF, payload, correlation if request_id is None else request_id)


def check_offer(body):
    frame = parse_frame(body)
    check_envelope(frame, REQUEST, "REQUEST", HANDOFF, "handoff")
    offer = wire.decode("HandoffOffer", frame["payload"])
    demand(frame["request_id"] == offer["correlation_id"],
           "frame request_id does not match HandoffOffer correlation_id")
    return offer


def check_ack(body, token, correlation):
    """The broker's check of step 6; Refusal("rejected: DETAIL") for accepted = false."""
    frame = parse_frame(body)
    try:
        check_envelope(frame, RESPONSE, "RESPONSE", HANDOFF, "handoff")
    except Refusal as err:
        raise Refusal(f"unexpected HandoffAck frame: {err}") from None
    demand(frame["request_id"] == correlation, "HandoffAck frame request_id does not match the offer")
    ack = wire.decode("HandoffAck", frame["payload"])
    demand(ack["correlation_id"] == correlation, f"HandoffAck correlation id {ack['correlation_id']} "
           f"does not match offer correlation id {correlation}")
    demand(ack["token"] == token, "HandoffAck token echo does not match the offered token")
    demand(ack["accepted"], f"rejected: {ack['error_detail']}")
    return ack


def check_ready(body, token):
    """The client's check of step 7: EVENT, token echo, accepted."""
    frame = parse_frame(body)
    check_envelope(frame, EVENT, "EVENT", HANDOFF, "handoff")
    ack = wire.decode("HandoffAck", frame["payload"])
    demand(ack["token"] == token, "token echo differs")
    demand(ack["accepted"], "handoff was not accepted")
    return ack


def may_adopt(negotiated):
    """Whether the reply promises a handoff."""
    return (negotiated["server_capabilities"] & CAP_HANDLE_PASSING != 0
            and len(negotiated["handle_passed_token"]) == TOKEN_BYTES)


def hash16(identity):
    return blake3(identity.encode())[:8].hex()


def linux_identity(uid=None):
    """UID:MACHINE of section 6.1; an empty file falls through, an unreadable one is an error."""
    uid = os.getuid() if uid is None else uid
    for path, prefix in (("/etc/machine-id", ""), ("/var/lib/dbus/machine-id", ""),
                         ("/proc/sys/kernel/random/boot_id", "boot:")):
        try:
            with open(path, encoding="utf-8") as file:
                machine = file.read().strip()
        except FileNotFoundError:
            continue
        if machine:
            return f"{uid}:{prefix}{machine}"
    raise Refusal("no machine id")


def bare_name(hashed, service=None, instance=None):
    tail = f"svc-{service}" if service else f"inst-{instance}" if instance else "shared"
    return f"rpb-v1-{hashed}-{tail}"


def linux_address(bare, runtime_dir=None, uid=None):
    """The socket's path; runtime_dir None means that XDG_RUNTIME_DIR is not set."""
    base = f"/tmp/running-process-{uid}" if runtime_dir is None else f"{runtime_dir}/running-process"
    path = f"{base}/broker/{bare}.sock"
    demand(len(path) <= 107, f"path too long ({len(path)} > 107)")
    return path


def macos_address(bare, tmpdir, uid):
    return f"{tmpdir.rstrip('/')}/.rp-{uid}/{blake3(bare.encode())[:8].hex()}.sock"
