# SPDX-License-Identifier: Apache-2.0
"""A client of a running-process v1 broker that shares no code with the project: python3 client.py COMMAND --help.

Results are one JSON object on stdout. Exit 0: as hoped (negotiated and answered, an admin reply, all
Hellos negotiated, self test passed); 1 otherwise; 2 wrong usage.
"""

import argparse
import json
import os
import sys

import calls
import load
import rules
import wire
from messages import CONTROL, ISOLATIONS, VERBS


def say(value):
    print(json.dumps(calls.show(value)), flush=True)


def number(text):
    return int(text, 0)


def add_hello_flags(parser):
    """The fields of Hello and of its Frame."""
    flag = parser.add_argument
    flag("--capabilities", type=number, default=1)
    flag("--keepalive", type=number, default=0, metavar="SECONDS")
    flag("--pid", default="self", help="self, 0 or a number")
    flag("--traceparent", default="")
    flag("--tracestate", default="")
    flag("--min", type=number, default=1)
    flag("--max", type=number, default=1)
    flag("--client-version", default="4.10.6")
    flag("--lib-name", default="running-process")
    flag("--lib-version", default="4.10.6")
    flag("--auth-hex", default="")
    flag("--request-id", default="hello", help="Hello.request_id")
    flag("--frame-id", type=number, default=1, help="Frame.request_id")
    flag("--envelope-version", type=number, default=1)
    flag("--kind", type=number, default=0)
    flag("--protocol", type=number, default=CONTROL)
    flag("--encoding", type=number, default=0)
    flag("--append-hex", default="", help="bytes after the Hello: unknown fields, broken ones")
    flag("--body-size", type=number, help="pad auth_token until the frame body has this size")


def hello_body(args, pid=None):
    """The Frame's bytes for the flags."""
    claimed = {"self": os.getpid() if pid is None else pid}.get(args.pid)

    def build(auth):
        payload = calls.hello_message(
            args.service, args.version, client_min_protocol=args.min, client_max_protocol=args.max,
            client_version=args.client_version, client_capabilities=args.capabilities, auth_token=auth,
            request_id=args.request_id, peer_pid=number(args.pid) if claimed is None else claimed,
            client_lib_name=args.lib_name, client_lib_version=args.lib_version,
            client_keepalive_secs=args.keepalive) + bytes.fromhex(args.append_hex)
        return rules.request_frame(
            args.protocol, payload, args.frame_id, envelope_version=args.envelope_version, kind=args.kind,
            payload_encoding=args.encoding, traceparent=args.traceparent, tracestate=args.tracestate)

    auth = bytes.fromhex(args.auth_hex)
    body = build(auth)
    while args.body_size and len(body) < args.body_size:
        auth += bytes(max(1, (args.body_size - len(body)) // 2))
        body = build(auth)
    if args.body_size and len(body) != args.body_size:
        raise SystemExit(f"cannot pad the frame body to {args.body_size} bytes: {len(body)}")
    return body


def run_hello(args):
    body = hello_body(args) if args.raw_hex is None else wire.RawBytes(bytes.fromhex(args.raw_hex))
    ping = None if args.no_backend else args.request.encode()
    out = calls.hello(args.socket, body, timeout=args.timeout, adopt=args.adopt, ping=ping)
    say(out)
    return 0 if out["outcome"] == "negotiated" and "error" not in out else 1


def run_backend(args):
    """A request straight to a backend's endpoint."""
    with calls.dial(args.socket, args.timeout) as sock:
        say(calls.describe(calls.backend_request(wire.Stream(sock), args.request.encode())))
    return 0


def run_probe(args):
    """The identity a backend answers (section 9)."""
    nonce = os.urandom(32)
    with calls.dial(args.socket, args.timeout) as sock:
        stream = wire.Stream(sock)
        stream.send(rules.probe_request(nonce))
        say(rules.check_probe(stream.receive(), nonce))
    return 0


def run_admin(args):
    verb = VERBS.get(args.verb)
    request = {"verb": number(args.verb) if verb is None else verb, "json": args.json,
               "service_name": args.service, "output_path": args.output, "drain_deadline_ms": args.drain_ms}
    out = calls.admin(args.socket, request, args.frame_id, args.timeout)
    if args.body:
        sys.stdout.write(out.get("body", ""))
        return out.get("exit_code", 1)
    say(out)
    return 0 if out["outcome"] == "admin" else 1


def run_raw(args):
    text = sys.stdin.read() if args.hex == "-" else args.hex
    data = bytes.fromhex(text) + bytes(args.zeros)
    say(calls.raw(args.socket, data, half_close=args.half_close, timeout=args.timeout))
    return 0


def run_flood(args):
    return load.flood(args.socket, args.count, args.kind, args.seconds)


def run_many(args):
    def one():
        ping = None if args.no_backend else b"ping"
        return calls.hello(args.socket, hello_body(args), timeout=args.timeout, adopt=args.adopt, ping=ping)

    out = load.many(args.count, one, args.threads)
    say(out)
    return 0 if out["outcomes"] == {"negotiated": args.count} and not out["errors"] else 1


def run_bench(args):
    first = calls.hello(args.socket, hello_body(args), timeout=90)
    if first["outcome"] != "negotiated":
        say(first)
        return 1
    args.capabilities &= ~1 if not args.adopt else -1  # a handoff offered and not taken would be measured, too
    out = load.bench(args.socket, lambda pid: wire.frame_bytes(hello_body(args, pid)), args.count,
                     args.processes, args.per_process, args.warm)
    say(out)
    return 0 if not out["other"] and out["count"] == args.count * args.processes else 1


def run_servicedef(args):
    isolation, name = args.isolation[0], args.isolation[1] if len(args.isolation) > 1 else ""
    message = wire.encode("ServiceDefinition", {
        "service_name": args.service, "binary_path": args.binary,
        "isolation": ISOLATIONS[isolation] if isolation in ISOLATIONS else number(isolation),
        "explicit_instance": name, "per_version_binary_dir": args.dir, "min_version": args.min,
        "version_allow_list": args.allow, "labels": dict(item.split("=", 1) for item in args.label)})
    path = args.file + f"{args.service}.servicedef" if args.file.endswith("/") else args.file
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, mode=0o700, exist_ok=True)
    os.chmod(folder, 0o700)
    with open(path, "wb") as file:
        file.write(message)
    say({"path": path, "hex": message})
    return 0


def run_address(args):
    uid = os.getuid() if args.uid is None else args.uid
    identity = args.identity or rules.linux_identity(uid)
    bare = rules.bare_name(rules.hash16(identity), args.service, args.instance)
    runtime = os.environ.get("XDG_RUNTIME_DIR") if args.runtime_dir is None else args.runtime_dir
    print(rules.linux_address(bare, runtime, uid))
    return 0


def run_selftest(args):
    import selftest
    return selftest.run(args.vectors)


def parse(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run, *places, timeout=30.0):
        aliases = ["servedef"] if name == "servicedef" else []
        sub = commands.add_parser(name, help=run.__doc__, aliases=aliases)
        sub.set_defaults(run=run)
        for place in places:
            sub.add_argument(place, type=number if place == "count" else str)
        if timeout:
            sub.add_argument("--timeout", type=float, default=timeout, metavar="SECONDS")
        return sub

    sub = command("hello", run_hello, "socket", "service", "version")
    add_hello_flags(sub)
    sub.add_argument("--raw-hex", help="send these bytes instead of the framed Hello")
    sub.add_argument("--adopt", action="store_true", help="wait for the handoff event, else reconnect")
    sub.add_argument("--no-backend", action="store_true", help="the Hello only")
    sub.add_argument("--request", default="ping", help="what to ask the backend")
    sub = command("backend", run_backend, "socket")
    sub.add_argument("--request", default="ping")
    command("probe", run_probe, "socket")
    sub = command("admin", run_admin, "socket", "verb")
    sub.add_argument("--json", action="store_true", help="set the request's json field")
    sub.add_argument("--service", default="")
    sub.add_argument("--output", default="")
    sub.add_argument("--drain-ms", type=number, default=0)
    sub.add_argument("--frame-id", type=number, default=44)
    sub.add_argument("--body", action="store_true", help="print the body and exit with its exit_code")
    sub = command("raw", run_raw, "socket", "hex", timeout=5.0)
    sub.add_argument("--half-close", action="store_true")
    sub.add_argument("--zeros", type=number, default=0, help="this many zero bytes after HEX")
    sub = command("flood", run_flood, "socket", "count", timeout=None)
    sub.add_argument("kind", choices=load.FLOOD_KINDS)
    sub.add_argument("--seconds", type=float, help="hold this long; default: until stdin ends")
    sub = command("many", run_many, "socket", "service", "version", "count", timeout=90.0)
    add_hello_flags(sub)
    sub.add_argument("--threads", action="store_true", help="threads of one process, not processes")
    sub.add_argument("--adopt", action="store_true")
    sub.add_argument("--no-backend", action="store_true")
    sub = command("bench", run_bench, "socket", "service", "version", "count", timeout=None)
    add_hello_flags(sub)
    sub.add_argument("--processes", type=number, default=1)
    sub.add_argument("--per-process", type=number, default=240, help="Hellos of one process; 0 for all")
    sub.add_argument("--warm", type=number, default=8, help="untimed Hellos of each process")
    sub.add_argument("--adopt", action="store_true", help="keep the handle passing bit")
    sub = command("servicedef", run_servicedef, "file", "service", "binary", timeout=None)
    sub.add_argument("--dir", default="", help="per_version_binary_dir")
    sub.add_argument("--min", default="")
    sub.add_argument("--allow", action="append", default=[])
    sub.add_argument("--label", action="append", default=[], metavar="KEY=VALUE")
    sub.add_argument("--isolation", nargs="+", default=["private"], metavar="MODE",
                     help="private, shared, explicit NAME, or a number")
    sub = command("address", run_address, timeout=None)
    sub.add_argument("--identity", help="UID:MACHINE; default: this user on this machine")
    sub.add_argument("--uid", type=number)
    sub.add_argument("--runtime-dir")
    sub.add_argument("--service", help="of a private broker")
    sub.add_argument("--instance", help="of an explicit broker")
    command("selftest", run_selftest, "vectors", timeout=None)
    return parser.parse_args(words)


def main():
    args = parse(sys.argv[1:])
    try:
        return args.run(args)
    except calls.FAULTS as err:
        say({"outcome": "error", "error": calls.describe_fault(err)})
        return 1


if __name__ == "__main__":
    sys.exit(main())
