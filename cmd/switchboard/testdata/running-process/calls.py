# SPDX-License-Identifier: Apache-2.0
"""One exchange each with a broker and with a backend, reported as plain dicts for JSON."""

import os
import select
import socket
import struct
import time

import wire
from messages import (ADMIN, CAP_HANDLE_PASSING, CONTROL, ENCODINGS, ERROR_CODES, KINDS, REPLY_KINDS, RESPONSE,
                      TEST_LANE)
from rules import (Refusal, check_envelope, check_ready, check_response, hello_result, may_adopt, parse_frame,
                   request_frame)

READY_SECONDS = 2.0  # how long a client waits for the handoff event (section 10)
FAULTS = (wire.WireError, Refusal, OSError)


def name_of(names, number):
    return names[number] if 0 <= number < len(names) else str(number)


def show(value):
    """value with bytes as hex, for JSON."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: show(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [show(item) for item in value]
    return value


def show_frame(frame):
    """The envelope of a parsed frame, without its payload."""
    out = show({key: value for key, value in frame.items() if key != "payload"})
    out["kind_name"] = name_of(KINDS, frame["kind"])
    out["payload_encoding_name"] = name_of(ENCODINGS, frame["payload_encoding"])
    out["payload_bytes"] = len(frame["payload"])
    return out


def dial(path, timeout):
    """A stream socket connected to path; longer paths than sockaddr_un holds go by their folder's descriptor."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = -1
    try:
        # A socket with a Python timeout does not wait for room in the listener's queue; a blocking one does.
        whole = max(1, round(timeout * 1e6))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", whole // 1000000, whole % 1000000))
        if len(os.fsencode(path)) > 107:
            folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
            path = f"/proc/self/fd/{folder}/{os.path.basename(path)}"
        sock.connect(path)
        sock.settimeout(timeout)
    except BaseException:
        sock.close()
        raise
    finally:
        if folder >= 0:
            os.close(folder)
    return sock


def ending(sock, seconds):
    """How the peer leaves within seconds: "eof", "reset", "open" (it does not), or "data"."""
    try:
        if not select.select([sock], [], [], seconds)[0]:
            return "open"
        return "data" if sock.recv(1) else "eof"
    except OSError:
        return "reset"


def hello_message(service, version, **more):
    """A Hello as the original's library sends it; more are fields of Hello, client_keepalive_secs 0."""
    fields = {
        "client_min_protocol": 1, "client_max_protocol": 1, "service_name": service, "wanted_version": version,
        "client_version": "4.10.6", "client_capabilities": CAP_HANDLE_PASSING, "request_id": "hello",
        "peer_pid": os.getpid(), "client_lib_name": "running-process", "client_lib_version": "4.10.6",
    }
    return wire.encode("Hello", {**fields, **more})


def backend_request(stream, text=b"ping", request_id=1, lane=TEST_LANE):
    """The payload a test backend answers on the lane."""
    stream.send(request_frame(lane, text, request_id))
    frame = parse_frame(stream.receive())
    check_envelope(frame, RESPONSE, "RESPONSE", lane, f"0x{lane:04X}")
    check_response(frame, lane, request_id)
    return frame["payload"]


def describe(payload):
    """The answer of the C backend to "ping": key=value words as a dict, its pid a number."""
    text = payload.decode("utf-8", "replace")
    words = dict(word.split("=", 1) for word in text.split() if "=" in word)
    pid = words.get("pid", "")
    return {"reply": text, "pid": int(pid) if pid.isdigit() else None, "version": words.get("version")}


def wait_ready(stream, token, seconds=READY_SECONDS):
    """The accepted handoff event. A FAULT when there is none: then the client reconnects."""
    previous = stream.sock.gettimeout()
    end = time.monotonic() + seconds
    stream.sock.settimeout(seconds)
    try:
        ack = check_ready(stream.receive(), token)
        if time.monotonic() > end:
            raise Refusal("handoff event came too late")
        return ack
    finally:
        stream.sock.settimeout(previous)


def hello(path, body, *, timeout=30.0, adopt=False, ping=b"ping", linger=1.0):
    """One Hello (body: the encoded Frame, or None after raw bytes) and, if negotiated, a request to the backend.

    Returns {"outcome": "negotiated" | "refused" | "closed" | "error", ...}: every field of the reply at
    the top level, "frame", "reply_hex", "then" (how the connection ended, where that is fixed), "hello_us",
    and with a backend "way" ("handoff" | "reconnect"), "backend" (see describe) and "total_us".
    """
    out = {"outcome": "error"}
    start = time.perf_counter()
    try:
        with dial(path, timeout) as sock:
            stream = wire.Stream(sock)
            if isinstance(body, wire.RawBytes):
                sock.sendall(body)
            else:
                stream.send(body)
            reply = stream.receive()
            out["hello_us"] = micros(start)
            negotiated = read_hello_reply(out, reply)
            moves = negotiated is not None and may_adopt(negotiated)
            if not moves:
                out["then"] = ending(sock, linger)
            if negotiated is None or ping is None:
                return out
            if adopt and moves:
                try:
                    out["ready"] = show(wait_ready(stream, negotiated["handle_passed_token"]))
                    out["way"] = "handoff"
                except FAULTS as err:
                    out["not_adopted"] = describe_fault(err)
            if out.get("way") == "handoff":
                out["backend"] = describe(backend_request(stream, ping))
        if "way" not in out:
            out["way"] = "reconnect"
            with dial(negotiated["backend_pipe"], timeout) as sock:
                out["backend"] = describe(backend_request(wire.Stream(sock), ping))
        out["total_us"] = micros(start)
    except FAULTS as err:
        out["error"] = describe_fault(err)
        if isinstance(err, (wire.ShortRead, ConnectionError)) and "reply_hex" not in out:
            out["outcome"] = "closed"
    return out


def read_hello_reply(out, body):
    """Puts the reply in out; returns Negotiated or None."""
    out["reply_hex"] = wire.frame_bytes(body).hex()
    frame = parse_frame(body)
    out["frame"] = show_frame(frame)
    reply = hello_result(frame)
    if reply["negotiated"] is not None:
        out["outcome"] = "negotiated"
        out.update(show(reply["negotiated"]))
        return reply["negotiated"]
    out["outcome"] = "refused"
    out.update(show(reply["refused"]))
    out["code_name"] = name_of(ERROR_CODES, out["code"])
    return None


def admin(path, request, request_id=44, timeout=30.0):
    """One admin request (fields of AdminRequest): the fields of AdminReply, or {"outcome": "closed" | "error"}."""
    out = {"outcome": "error"}
    try:
        with dial(path, timeout) as sock:
            stream = wire.Stream(sock)
            stream.send(request_frame(ADMIN, wire.encode("AdminRequest", request), request_id))
            body = stream.receive()
            out["reply_hex"] = wire.frame_bytes(body).hex()
            frame = parse_frame(body)
            out["frame"] = show_frame(frame)
            check_envelope(frame, RESPONSE, "RESPONSE", ADMIN, "admin")
            out.update(wire.decode("AdminReply", frame["payload"]))
            out["kind_name"] = name_of(REPLY_KINDS, out["kind"])
            out["outcome"] = "admin"
            out["then"] = ending(sock, 1.0)
    except FAULTS as err:
        out["error"] = describe_fault(err)
        if isinstance(err, (wire.ShortRead, ConnectionError)) and "reply_hex" not in out:
            out["outcome"] = "closed"
    return out


def raw(path, data, *, half_close=False, timeout=5.0):
    """Sends data and reads until the peer leaves or timeout seconds pass: reply_hex, "closed", any frames."""
    out, received = {}, b""
    with dial(path, timeout) as sock:
        try:
            sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
        except OSError as err:
            out["send_error"] = describe_fault(err)
        end = time.monotonic() + timeout
        out["closed"] = "open"
        try:
            while (left := end - time.monotonic()) > 0:
                sock.settimeout(left)
                chunk = sock.recv(1 << 18)
                if not chunk:
                    out["closed"] = "eof"
                    break
                received += chunk
        except TimeoutError:
            pass
        except OSError as err:
            out["closed"] = "reset"
            out["error"] = describe_fault(err)
    out["reply_hex"], out["frames"] = received.hex(), []
    try:
        while received:
            body, received = wire.take_frame(received)
            if body is None:
                break
            entry = {"frame": show_frame(parse_frame(body))}
            if entry["frame"]["payload_protocol"] == CONTROL and entry["frame"]["kind"] == RESPONSE:
                entry["hello_reply"] = show(hello_result(parse_frame(body)))
            out["frames"].append(entry)
    except FAULTS as err:
        out["undecodable"] = describe_fault(err)
    return out


def describe_fault(err):
    return f"{type(err).__name__}: {err}"


def micros(start):
    return round((time.perf_counter() - start) * 1e6)
