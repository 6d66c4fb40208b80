# SPDX-License-Identifier: Apache-2.0
"""What each family of vectors demands of this client's codec and rules: check(vector, data, expect, vectors).

A check raises Failed, or a fault of the code under test.
"""

import hashlib

import calls
import load
import rules
import wire
from blake3_pure import blake3
from messages import ENCODINGS, ERROR_CODES, KINDS

BROKEN_FRAMES = ("body-not-a-frame", "frame-invalid-utf8", "frame-wrong-wire-type", "frame-field-zero")


class Failed(Exception):
    pass


def same(got, want, what):
    if got != want:
        raise Failed(f"{what}: got {calls.show(got)!r}, want {calls.show(want)!r}")


def refused(text, call):
    """call() must raise a fault; its text must be text, unless that is None."""
    try:
        call()
    except (wire.WireError, rules.Refusal) as err:
        if text is not None:
            same(str(err), text, "refusal")
        return
    raise Failed("accepted")


def one_body(data):
    body, rest = wire.take_frame(data)
    if body is None or rest:
        raise Failed("not one whole frame")
    return body


def as_vector(value, want, field):
    """A decoded field in the shape the vectors use: hex, enum names, 0x numbers."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(want, str) and want.startswith("0x"):
        return hex(value)
    names = {"kind": KINDS, "payload_encoding": ENCODINGS, "code": ERROR_CODES}.get(field)
    return names[value] if names and isinstance(want, str) else value


def check_fields(message, wanted):
    for field, want in wanted.items():
        same(as_vector(message[field], want, field), want, field)


def golden(vector, data, expect, vectors):
    if "header_hex" in expect:
        body = one_body(data)
        same((data[:5].hex(), len(body)), (expect["header_hex"], expect["body_len"]), "header")
        return same(wire.frame_bytes(body), data, "framed again")
    message = wire.decode(expect["message"], data)
    fields = expect["fields"]
    if isinstance(fields, str):
        fields = vectors[fields.rsplit(" ", 1)[1]]["expect"]["fields"]
    elif fields.get("result"):
        chosen = fields["result"]
        same([k for k, v in message.items() if v is not None], [chosen], "oneof")
        message, fields = message[chosen], vectors[f"golden-{chosen}"]["expect"]["fields"]
    check_fields(message, fields)
    if expect.get("encode_exact"):
        same(wire.encode(expect["message"], wire.decode(expect["message"], data)), data, "encoded again")
    return None


def framing(vector, data, expect, _):
    cap = expect.get("cap", wire.BODY_CAP)
    read = expect["read"]
    if read == "error":
        try:
            body, rest = wire.take_frame(data, cap)
            if body is None:
                raise wire.ShortRead(wire.short_context(rest))
        except wire.FrameTooLarge as err:
            return same((expect["kind"], err.length, err.cap), ("FrameTooLarge", expect["body_length"], cap), "error")
        except wire.BadVersion as err:
            return same((expect["kind"], err.got), ("UnsupportedFramingVersion", expect["got"]), "error")
        except wire.ShortRead as err:
            return same((expect["kind"], err.context), ("UnexpectedEof", expect["context"]), "error")
        raise Failed("read")
    if read != "ok":
        return same(wire.take_frame(data), (None, data), read)
    bodies, rest = [], data
    while rest:
        body, rest = wire.take_frame(rest)
        if body is None:
            raise Failed("a frame is cut short")
        bodies.append(body)
    wanted = [b.encode() for b in expect["bodies"]] if "bodies" in expect else [bytes.fromhex(expect["body_hex"])]
    return same(bodies, wanted, "bodies")


def hello_reply(expect, key="reply_hex"):
    """The reply, decoded as a client does, encoded again, and by the bench's quick way."""
    if key not in expect:
        return
    data = bytes.fromhex(expect[key])
    body = one_body(data)
    frame = rules.parse_frame(body)
    reply = rules.hello_result(frame)
    same(wire.encode("Frame", {**frame, "payload": wire.encode("HelloReply", reply)}), body, "reply encoded again")
    quick = load.quick_outcome(data)
    if expect["outcome"] == "refused":
        check_fields(reply["refused"], {k: expect[k] for k in ("reason", "code", "retry_after_ms")})
        same(ERROR_CODES[reply["refused"]["code"]], expect["code_name"], "code name")
        same(frame["request_id"], expect["reply_request_id"], "request_id")
        same(quick, reply["refused"]["reason"], "quick")
    else:
        fields = dict(expect.get("fields", {}))
        size = fields.pop("handle_passed_token_len", None)
        check_fields(reply["negotiated"], fields)
        same(size in (None, len(reply["negotiated"]["handle_passed_token"])), True, "token size")
        same(quick[3], reply["negotiated"]["backend_pipe"], "quick")


def hello(vector, data, expect, _):
    hello_reply(expect)
    hello_reply(expect, "reply_hex_sample")
    name = vector["name"]
    if name.startswith(BROKEN_FRAMES):
        return refused(None, lambda: rules.parse_frame(one_body(data)))
    try:
        body, rest = wire.take_frame(data)
    except wire.WireError:
        return same(expect["code"] in (1, 6) and name.startswith(("bad-version", "oversize")), True, "framing")
    if body is None:
        return same(len(data) == 5 or name.startswith(("truncated", "silent")), True, "incomplete")
    same(rest, b"", "rest")
    frame = rules.parse_frame(body)
    same(wire.encode("Frame", frame), body, "frame encoded again")
    if name == "hello-payload-garbage":
        return refused(None, lambda: wire.decode("Hello", frame["payload"]))
    again = wire.encode("Hello", wire.decode("Hello", frame["payload"]))
    return same(frame["payload"].startswith(again) if "unknown-field" in name else again == frame["payload"],
                True, "Hello encoded again")


def admin(vector, data, expect, _):
    frame = rules.parse_frame(one_body(data))
    if vector["name"] == "admin-bad-payload-garbage":
        return refused(None, lambda: wire.decode("AdminRequest", frame["payload"]))
    request = wire.decode("AdminRequest", frame["payload"])
    same(wire.encode("Frame", {**frame, "payload": wire.encode("AdminRequest", request)}), one_body(data), "again")
    if "reply_hex" not in expect:
        return None
    body = one_body(bytes.fromhex(expect["reply_hex"]))
    reply_frame = rules.parse_frame(body)
    rules.check_envelope(reply_frame, 1, "RESPONSE", 0xAD01, "admin")
    reply = wire.decode("AdminReply", reply_frame["payload"])
    check_fields(reply, {k: expect[k] for k in ("kind", "body", "exit_code", "content_type") if k in expect})
    same(reply_frame["request_id"], frame["request_id"], "request_id")
    return same(wire.encode("Frame", {**reply_frame, "payload": wire.encode("AdminReply", reply)}), body, "again")


def probe(vector, data, expect, vectors):
    body, nonce = one_body(data), bytes(range(32))
    if vector["name"] == "probe-request":
        same(rules.probe_request(nonce), body, "request")
        return same(rules.parse_frame(body)["request_id"], expect["request_id"], "request_id")
    if vector["name"] == "probe-request-short-nonce":
        return refused(expect["detail"], lambda: rules.check_backend_frame(rules.parse_frame(body), ()))
    identity = vectors["probe-response-ok"]["expect"]["identity"]
    wanted = {"pid": identity["pid"], "exe_path": identity["exe_path"], "boot_id": identity["boot_id"],
              "exe_hash": bytes.fromhex(identity["exe_hash"]), "ipc_endpoint": identity["endpoint"]}
    if expect["verify"] == "error":
        text = expect.get("detail", f"mismatch: {expect.get('mismatch_field')}")
        return refused(text, lambda: rules.check_probe(body, nonce, wanted))
    process = rules.check_probe(body, nonce, wanted)
    image = b"daemon image bytes"
    same(blake3(image), process["exe_hash"], "BLAKE3 of the image")
    tail = bytes.fromhex("1a20" + identity["legacy_sha256"])
    same(hashlib.sha256(image).digest(), tail[2:], "SHA-256 of the image")
    payload = nonce + wire.encode("DaemonProcess", process)
    if not vector["name"].endswith("without-legacy-field"):
        same(process["started_at_unix_ms"], identity["started_at_unix_ms"], "started_at_unix_ms")
        same(process["idle_timeout_secs"], identity["idle_timeout_secs"], "idle_timeout_secs")
        payload += tail
    return same(rules.parse_frame(body)["payload"], payload, "payload")


def consumer(vector, data, expect, _):
    frame = rules.parse_frame(one_body(data))
    if expect["mux"] == "error":
        return refused(expect["detail"], lambda: rules.check_backend_frame(frame, (0xF415,)))
    same(rules.check_backend_frame(frame, (0xF415,)), expect["mux"], "mux")
    return same(rules.request_frame(0xF415, b"ping", 1), one_body(data), "request")


def handoff(vector, data, expect, _):
    token = bytes(range(0x10, 0x20))
    if vector["name"] == "handoff-sideband":
        return same(data, token, "token")
    body = one_body(data)
    if "offer" in expect:
        return refused(expect["detail"], lambda: rules.check_offer(body))
    if "message" in expect:
        offer = rules.check_offer(body)
        check_fields(offer, {k: v for k, v in expect.items() if k in offer})
        if vector["name"] == "handoff-offer-unix":
            same(rules.offer_frame(token, "zccache", 1), body, "offer")
        return None
    if "client" in expect:
        if expect["client"] == "adopt":
            return same(rules.check_ready(body, token)["accepted"], True, "accepted")
        return refused(None, lambda: rules.check_ready(body, token))
    if expect["ack"] == "ok":
        return same(rules.check_ack(body, token, 1)["token"], token, "token")
    if "error_detail" in expect:
        same(wire.decode("HandoffAck", rules.parse_frame(body)["payload"])["error_detail"],
             expect["error_detail"], "error_detail")
    if expect["ack"] == "rejected":
        return refused(f"rejected: {expect['error_detail']}", lambda: rules.check_ack(body, token, 1))
    text = expect["detail"] if expect["ack"] == "error" else f"HandoffAck {expect['ack']}"
    return refused(text, lambda: rules.check_ack(body, token, 1))


def endpoint(vector, data, expect, _):
    bare, setup = data.decode(), vector["setup"]
    same(bare, expect["bare_name"], "bare name")
    for key, runtime in (("linux", setup["XDG_RUNTIME_DIR"]), ("linux_no_runtime_dir_uid1000", None)):
        def address():
            return rules.linux_address(bare, runtime, setup["linux_uid"])
        if isinstance(expect[key], dict):
            refused(expect[key]["error"], address)
        else:
            same(address(), expect[key], key)
    same(rules.macos_address(bare, setup["macos_TMPDIR"], setup["macos_uid"]), expect["macos"], "macos")


def servicedef(vector, data, expect, _):
    if vector["name"] == "servicedef-garbage":
        return refused(None, lambda: wire.decode("ServiceDefinition", data))
    name = "ServiceDefinitionV2" if vector["name"].startswith("servicedef-v2") else "ServiceDefinition"
    return same(wire.encode(name, wire.decode(name, data)), data, "encoded again")


def manifest(vector, data, expect, _):
    message = wire.decode("CacheManifest", data)
    digest, message["self_sha256"] = message["self_sha256"], b""
    hashed = wire.encode("CacheManifest", message)
    good = len(digest) == 32 and hashlib.sha256(hashed).digest() == digest
    if expect["read"] == "ok or Corruption, at random":
        return same(good, True, "hash with the map's keys in order")
    # A schema too new is refused for its number; its hash holds.
    same(good, expect["read"] == "ok" or expect.get("kind") == "SchemaTooNew", "hash")
    return same(hashed.hex(), expect.get("hashed_bytes_hex", hashed.hex()), "hashed bytes")


def lifecycle(vector, data, expect, _):
    same(wire.encode("LifecycleEvent", wire.decode("LifecycleEvent", data)), data, "encoded again")
    same(len(data) == expect["encoded_len"] <= expect["max"], True, "size")


def session(vector, data, expect, _):
    frame = rules.parse_frame(one_body(data))
    message = wire.decode("SessionFrame", frame["payload"])
    same(message[expect["kind"]] is not None, True, expect["kind"])
    same(wire.encode("SessionFrame", message), frame["payload"], "encoded again")


def identity_hash(vector, data, expect, _):
    same(data.decode(), expect["input"], "input")
    same(rules.hash16(expect["input"]), expect["hash16"], "hash16")


def percentiles(vector, data, expect, _):
    for share in (50, 99):
        same(load.percentile(vector["input"]["samples_us"], share), expect[f"p{share}"], f"p{share}")
