# SPDX-License-Identifier: Apache-2.0
"""program.c in Python, with the same words: selftest, stub-client, stub-server, serve, backend, client, dialects, race, take and post."""

import json
import socket
import sys
import threading

import wire
from bootstrap import DIALECTS, Bootstrap
from dialects import dialects
from exercise import Checks, exercise
from race import line, race, say
from workshop_server import Server
from workshop_user import NUMBERED, add


def selftest():
    receive, send = wire.make_port()
    server = threading.Thread(target=Server(receive).serve, daemon=True)
    server.start()
    checks = Checks()
    exercise(send, checks)
    send.close()
    server.join(wire.PATIENCE)
    assert not server.is_alive(), "the server goes on without a client"
    return {"checks": checks.count}


def inherited():
    return socket.socket(fileno=3)


def stub_client():
    checks = Checks()
    exercise(inherited(), checks)
    return {"checks": checks.count}


def stub_server():
    Server(inherited()).serve()


def have(boot, name, how):
    if how != "custom":
        return boot.check_in(how, name)[0]
    receive, send = wire.make_port()
    with send:
        boot.register("custom", name, send)
    return receive


def serve(path, name, how):
    boot = Bootstrap(path)
    port = have(boot, name, how)
    say("ready")
    Server(port).serve(until=0)


def backend(path, name):
    boot = Bootstrap(path)  # what it has checked in lasts as long as this
    Server(have(boot, name, "newest")).serve()


def client(path, name):
    boot, checks = Bootstrap(path), Checks()
    for i, dialect in enumerate(DIALECTS):
        with boot.look_up(dialect, name) as port:
            checks.same("add", add(port, i, 1), i + 1)
    with boot.look_up("old", name) as port:
        exercise(port, checks)
    return {"checks": checks.count}


def take(path, name, count):
    boot = Bootstrap(path)
    port, _ = boot.check_in("newest", name)
    say(json.dumps({"numbers": [wire.awaited(port).get("I", 32) for _ in range(int(count))]}))
    line()
    rest = []
    try:
        while True:
            rest.append(wire.receive(port, socket.MSG_DONTWAIT).get("I", 32))
    except BlockingIOError:
        return {"numbers": rest}


def post(path, name, first, count):
    with Bootstrap(path).look_up("seed", name) as to:
        for i in range(int(count)):
            wire.Message(NUMBERED).ndr().add("I", int(first) + i).send(to)
    return {"sent": int(count)}


ROLES = {
    "selftest": selftest, "stub-client": stub_client, "stub-server": stub_server, "serve": serve, "backend": backend, "client": client, "dialects": dialects,
    "race": lambda path, prefix, names, threads: race(path, prefix, int(names), int(threads)), "take": take, "post": post,
}

if __name__ == "__main__":
    result = ROLES[sys.argv[1]](*sys.argv[2:])
    if result is not None:
        say(json.dumps(result))
