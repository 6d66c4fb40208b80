# SPDX-License-Identifier: Apache-2.0
"""Threads that want the same names at the same time, as race.h tells."""

import collections
import json
import socket
import sys
import threading

import wire
from bootstrap import DIALECTS, Bootstrap, code_of
from workshop_user import NUMBERED

CHECK_IN = ("seed", "old", "newest")


def race(path, prefix, names, threads):
    say("ready")
    line()
    start, lock = threading.Barrier(threads), threading.Lock()
    won, codes, failed = {}, {"check_in": collections.Counter(), "register": collections.Counter(), "look_up": collections.Counter()}, []
    boots = [Bootstrap(path) for _ in range(threads)]

    def one(number):
        b, way = boots[number], "look_up" if number % 8 == 7 else ("check_in", "register")[number % 2]
        for n in range(names):
            name, dialect, ports = f"{prefix}.{n}", DIALECTS[(number // 2 + n) % 5], None
            if way == "register":
                ports = wire.make_port()
            start.wait()
            code, receive = 0, None
            try:
                if way == "check_in":
                    receive, _ = b.check_in(CHECK_IN[(number // 2 + n) % 3], name)
                elif way == "register":
                    b.register(dialect, name, ports[1])
                    receive = ports[0]
                else:
                    b.look_up(dialect, name).close()
            except wire.Refused as e:
                code = e.code
            with lock:
                codes[way][code] += 1
                if receive is not None:
                    assert n not in won, f"{name} was won twice"
                    won[n] = receive
            if ports:
                ports[1].close()
                if receive is None:
                    ports[0].close()

    def guarded(number):
        try:
            one(number)
        except BaseException as e:  # the main thread fails with it
            failed.append(e)
            start.abort()

    all_threads = [threading.Thread(target=guarded, args=(i,)) for i in range(threads)]
    for t in all_threads:
        t.start()
    for t in all_threads:
        t.join()
    if failed:
        raise failed[0]
    say(json.dumps({"won": sorted(won), **codes}))
    line()
    for n in range(names):
        with boots[0].look_up("old", f"{prefix}.{n}") as to:
            wire.Message(NUMBERED).ndr().add("I", n).send(to)
    say(json.dumps({"sent": True}))
    line()
    came = 0
    for n, port in won.items():
        try:
            while True:
                m = wire.receive(port, socket.MSG_DONTWAIT)
                assert m.get("I", 32) == n
                came += 1
        except BlockingIOError:
            pass
    say(json.dumps({"came": came}))
    line()


def say(text):
    print(text, flush=True)


def line():
    """Waits for a line of input; without one nobody wants this program any more."""
    if not sys.stdin.readline():
        sys.exit(0)
