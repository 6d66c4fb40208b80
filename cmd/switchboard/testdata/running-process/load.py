# SPDX-License-Identifier: Apache-2.0
"""Many clients at once: floods that hold connections, simultaneous first callers, and the Hello bench."""

import array
import collections
import gc
import json
import os
import select
import signal
import socket
import struct
import threading
import time
import traceback

import calls
import wire
from messages import ADMIN, CONTROL, VERBS
from rules import request_frame

FLOOD_KINDS = ("silent", "half-header", "half-body", "never-reads")


def percentile(samples, share):
    """Nearest rank: index ceil(n * share / 100) - 1 of the sorted samples (section 17)."""
    return sorted(samples)[-(-len(samples) * share // 100) - 1] if samples else None


def flood_bytes(kind):
    """What a connection of the kind sends before it falls silent."""
    if kind == "silent":
        return b""
    if kind == "half-header":
        return b"\x01\x40"
    if kind == "half-body":
        return wire.frame_bytes(request_frame(CONTROL, bytes(64), 1))[:20]
    return wire.frame_bytes(request_frame(ADMIN, wire.encode("AdminRequest", {"verb": VERBS["config"]}), 1))


def flood(path, count, kind, seconds=None):
    """Holds count connections until stdin ends, SIGTERM comes or seconds pass.

    Prints {"held", "failed"} once they are held, and {"endings"} at the end: how each was left by the peer.
    """
    held, failed, data = [], 0, flood_bytes(kind)
    for _ in range(count):
        try:
            sock = calls.dial(path, 10)
            sock.sendall(data)
            held.append(sock)
        except OSError:
            failed += 1
    print(json.dumps({"held": len(held), "failed": failed}), flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if seconds is not None:
            time.sleep(seconds)
        else:
            while os.read(0, 4096):
                pass
    except KeyboardInterrupt:
        pass
    endings = collections.Counter(calls.ending(sock, 0) for sock in held)
    print(json.dumps({"endings": dict(endings)}), flush=True)
    return 0


def _fork(task):
    """Runs task() in a child; (pid, descriptor of what it wrote). task returns bytes."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return pid, ours
    status = 1
    try:
        os.close(ours)
        left = memoryview(task())
        while left:
            left = left[os.write(theirs, left):]
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


def _gather(children):
    """What each child wrote, in order; a child that failed gives b""."""
    parts = {fd: [] for _, fd in children}
    open_fds = set(parts)
    while open_fds:
        for fd in select.select(list(open_fds), [], [])[0]:
            chunk = os.read(fd, 1 << 16)
            if chunk:
                parts[fd].append(chunk)
            else:
                open_fds.remove(fd)
                os.close(fd)
    out = []
    for pid, fd in children:
        status = os.waitpid(pid, 0)[1]
        out.append(b"".join(parts[fd]) if status == 0 else b"")
    return out


def _results_by_processes(count, one):
    gate, opener = os.pipe()

    def task():
        os.close(opener)
        os.read(gate, 1)  # ends when the parent closes its end: all start together
        return json.dumps(one()).encode()

    # Every child holds the write end of the gate until its task starts; the parent's close comes last.
    children = [_fork(task) for _ in range(count)]
    time.sleep(0.1)
    os.close(opener)
    os.close(gate)
    return [json.loads(text) if text else {"outcome": "died"} for text in _gather(children)]


def _results_by_threads(count, one):
    gate, results = threading.Barrier(count), [None] * count

    def task(index):
        gate.wait()
        results[index] = one()

    threads = [threading.Thread(target=task, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def many(count, one, by_threads=False):
    """Calls one() (a dict of calls.hello) count times at once and sums up what came."""
    results = (_results_by_threads if by_threads else _results_by_processes)(count, one)

    def tally(key, of=lambda item: item):
        return dict(collections.Counter(str(of(r[key])) for r in results if r.get(key) is not None))

    hello = [r["hello_us"] for r in results if "hello_us" in r]
    return {
        "n": count,
        "outcomes": tally("outcome"),
        "reasons": tally("reason"),
        "errors": tally("error"),
        "ways": tally("way"),
        "answered": sum(1 for r in results if r.get("backend")),
        "backend_pipes": tally("backend_pipe"),
        "backend_pids": tally("backend", lambda backend: backend["pid"]),
        "daemon_versions": tally("daemon_version"),
        "connection_ids": len({r["connection_id"] for r in results if "connection_id" in r}),
        "hello_us": {"p50": percentile(hello, 50), "p99": percentile(hello, 99), "max": max(hello, default=None)},
    }


def quick_fields(data):
    """{number: value} of one message: the short way of wire.decode, for the timed region."""
    out, at, size = {}, 0, len(data)
    while at < size:
        key = data[at]
        at += 1
        if key > 0x7F:
            key, at = wire.get_varint(data, at - 1)
        value = data[at]
        at += 1
        if value > 0x7F:
            value, at = wire.get_varint(data, at - 1)
        if key & 7 == wire.BYTES:
            out[key >> 3] = data[at:at + value]
            at += value
        elif key & 7 == wire.VARINT:
            out[key >> 3] = value
        else:
            raise wire.WireError("unexpected wire type")
    return out


def quick_outcome(reply):
    """Negotiated as {number: value}, or the refusal's reason as text, of a whole framed HelloReply."""
    frame = quick_fields(reply[5:])
    if frame.get(1) != 1 or frame.get(2) != 1 or frame.get(3, 0) != CONTROL:
        raise wire.WireError("not a HelloReply")
    result = quick_fields(frame[4])
    if 1 in result:
        negotiated = quick_fields(result[1])
        negotiated[2], negotiated[3] = negotiated[2].decode(), negotiated[3].decode()
        return negotiated
    return quick_fields(result[2]).get(1, b"").decode()


def _timed_hellos(path, request, count, warm):
    """(µs*10 to reply decoded, µs*10 to reply received, Counter of refusals) of count Hellos after warm untimed."""
    decoded, received, other = array.array("q"), array.array("q"), collections.Counter()
    clock = time.perf_counter_ns
    gc.disable()
    for number in range(warm + count):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 30, 0))
        sock.connect(path)
        start = clock()
        sock.sendall(request)
        reply = sock.recv(4096)
        while len(reply) < 5 or len(reply) < 5 + int.from_bytes(reply[1:5], "little"):
            chunk = sock.recv(4096)
            if not chunk:
                break
            reply += chunk
        arrived = clock()
        try:
            outcome = quick_outcome(reply)
        except (wire.WireError, LookupError):
            outcome = "closed" if not reply else "bad reply"
        done = clock()
        sock.close()
        if isinstance(outcome, str):
            other[outcome] += 1
        elif number >= warm:
            decoded.append((done - start) // 100)
            received.append((arrived - start) // 100)
    return decoded, received, other


def _lane(path, request_for, count, per_process, warm):
    """One client after another, a new process every per_process Hellos: the broker's limit counts by process."""
    decoded, received, other = array.array("q"), array.array("q"), collections.Counter()
    while count > 0:
        batch = min(count, per_process)

        def task():
            a, b, refusals = _timed_hellos(path, request_for(os.getpid()), batch, warm)
            return struct.pack("<I", len(a)) + a.tobytes() + b.tobytes() + json.dumps(refusals).encode()

        text = _gather([_fork(task)])[0]
        if not text:
            other["client failed"] += batch
        else:
            size = 8 * struct.unpack_from("<I", text)[0]
            decoded.frombytes(text[4:4 + size])
            received.frombytes(text[4 + size:4 + 2 * size])
            other.update(json.loads(text[4 + 2 * size:]))
        count -= batch
    return struct.pack("<I", len(decoded)) + decoded.tobytes() + received.tobytes() + json.dumps(other).encode()


def bench(path, request_for, count, processes=1, per_process=240, warm=8):
    """Times count Hellos by each of processes clients; request_for(pid) is the framed Hello.

    The timed region is write request to reply decoded, connect excluded; µs. per_process counts the
    untimed warm Hellos, too; 0 means one process for all (for a broker without the limit of 256 a second).
    """
    batch = count if per_process == 0 else max(1, per_process - warm)
    begin = time.perf_counter()
    texts = _gather([_fork(lambda: _lane(path, request_for, count, batch, warm)) for _ in range(processes)])
    seconds = time.perf_counter() - begin
    decoded, received, other = array.array("q"), array.array("q"), collections.Counter()
    for text in texts:
        size = 8 * struct.unpack_from("<I", text)[0] if text else 0
        decoded.frombytes(text[4:4 + size])
        received.frombytes(text[4 + size:4 + 2 * size])
        other.update(json.loads(text[4 + 2 * size:]) if text else {"client failed": count})

    def row(samples):
        if not samples:
            return None
        return {"p50": percentile(samples, 50) / 10, "p99": percentile(samples, 99) / 10, "max": max(samples) / 10}

    return {
        "processes": processes, "per_process": batch, "count": len(decoded), "other": dict(other),
        "us": row(decoded), "received_us": row(received), "seconds": round(seconds, 3),
        "hellos_per_second": round(len(decoded) / seconds),
    }
