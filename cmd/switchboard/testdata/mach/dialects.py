# SPDX-License-Identifier: Apache-2.0
"""A walk through the bootstrap calls of each dialect: what each answers, and what can then be sent to whom."""

import os
import time

import bootstrap
import wire
from bootstrap import DIALECTS, Bootstrap, code_of
from exercise import Checks
from workshop_user import NUMBERED


def reaches(send, receive):
    """Whether what is sent to one end arrives at the other."""
    reaches.number += 1
    wire.Message(NUMBERED).ndr().add("I", reaches.number).send(send)
    return wire.awaited(receive).get("I", 32) == reaches.number


reaches.number = 0


def everywhere(checks, boot, name, receive):
    """Looks a name up in each dialect, and sends to what is found."""
    for dialect in DIALECTS:
        with boot.look_up(dialect, name) as port:
            checks.same(f"look_up of {name} in {dialect}", reaches(port, receive), True)


def becomes(checks, want, call, *args, **more):
    """Calls until it is answered with a code: what the kernel tells the broker takes a moment."""
    end = time.monotonic() + wire.PATIENCE
    while (code := code_of(call, *args, **more)) != want and time.monotonic() < end:
        time.sleep(0.001)
    checks.same("a code, in the end", code, want)


def dialects(path, prefix):
    checks, boot, other = Checks(), Bootstrap(path), Bootstrap(path)
    check_ins(checks, boot, other, prefix)
    registers(checks, boot, other, prefix)
    created(checks, boot, other, prefix)
    arrays(checks, boot, prefix)
    subsets(checks, boot, prefix)
    return {"checks": checks.count}


def check_ins(checks, boot, other, prefix):
    for how in ("seed", "old", "newest"):
        name = f"{prefix}.check-in.{how}"
        for dialect in DIALECTS:
            checks.same("look_up of nobody", code_of(boot.look_up, dialect, name), bootstrap.UNKNOWN_SERVICE)
        port, instance = boot.check_in(how, name)
        with port:
            everywhere(checks, boot, name, port)
            everywhere(checks, other, name, port)
            for who in (boot, other):
                for again in ("seed", "old", "newest"):
                    checks.same("check_in again", code_of(who.check_in, again, name), bootstrap.SERVICE_ACTIVE)
                for dialect in DIALECTS:
                    checks.same("register of an active name", code_of(who.register, dialect, name, port), bootstrap.NAME_IN_USE)
            if instance:
                checks.same("the instance", code_of(boot.look_up, "newest", name, flags=32, instance=instance), 0)
                checks.same("another instance", code_of(boot.look_up, "newest", name, flags=32), bootstrap.UNKNOWN_SERVICE)
    checks.same("strict check_in", code_of(boot.check_in, "newest", prefix + ".strict", flags=64), bootstrap.UNKNOWN_SERVICE)


def registers(checks, boot, other, prefix):
    for dialect in DIALECTS:
        name, (receive, send) = f"{prefix}.register.{dialect}", wire.make_port()
        with receive, send:
            boot.register(dialect, name, send)
            everywhere(checks, other, name, receive)
            checks.same("register again", code_of(boot.register, dialect, name, send), bootstrap.NAME_IN_USE)
            checks.same("check_in of a registered name", code_of(other.check_in, "seed", name), bootstrap.SERVICE_ACTIVE)
        becomes(checks, bootstrap.UNKNOWN_SERVICE, other.look_up, dialect, name)
        boot.register(dialect, name, "dead")
        becomes(checks, bootstrap.UNKNOWN_SERVICE, other.look_up, dialect, name)
    name, (receive, send) = prefix + ".mine", wire.make_port()
    with receive, send:
        boot.register("newest", name, send, flags=1)
        with other.look_up("newest", name, pid=os.getpid(), flags=1) as port:
            checks.same("a name of this process", reaches(port, receive), True)
        checks.same("everybody's", code_of(other.look_up, "new", name), bootstrap.UNKNOWN_SERVICE)
    with open("/dev/null", "rb") as null:
        checks.same("register of a file", code_of(boot.register, "old", prefix + ".file", null), 17)


def created(checks, boot, other, prefix):
    name = prefix + ".created.0"
    with boot.create_service(name) as send:
        wire.Message(NUMBERED).ndr().add("I", 4711).send(send)
        checks.same("create_service again", code_of(other.create_service, name), bootstrap.NAME_IN_USE)
        port, _ = other.check_in("newest", name, flags=64)
        with port:
            checks.same("what was sent before", wire.awaited(port).get("I", 32), 4711)
            everywhere(checks, boot, name, port)
    with boot.create_service(prefix + ".undeclared"):
        boot.register("seed", prefix + ".undeclared", "null")
        checks.same("what is no more", code_of(boot.look_up, "old", prefix + ".undeclared"), bootstrap.UNKNOWN_SERVICE)


def arrays(checks, boot, prefix):
    name = prefix + ".array"
    receive, _ = boot.check_in("old", name)
    with receive:
        ports, all_known = boot.look_up_array([name, prefix + ".nobody", name])
        checks.same("who is known", ([p is not None for p in ports], all_known), ([True, False, True], False))
        for port in filter(None, ports):
            with port:
                checks.same("a port of an array", reaches(port, receive), True)
        checks.same("21 names", code_of(boot.look_up_array, [name] * 21), bootstrap.BAD_COUNT)
        checks.same("its state", boot.info().get(name), 1)


def subsets(checks, boot, prefix):
    shared, private = prefix + ".shared", prefix + ".private"
    outer, _ = boot.check_in("seed", shared)
    for dialect in ("seed", "old"):
        requestor, kept = wire.make_port()
        with kept:
            with boot.subset(dialect, kept) as port:
                inside = Bootstrap(through=port)
            everywhere(checks, inside, shared, outer)
            checks.same("strict look_up", code_of(inside.look_up, "newest", shared, flags=128), bootstrap.UNKNOWN_SERVICE)
            mine, _ = inside.check_in("old", private)
            checks.same("from outside", code_of(boot.look_up, "old", private), bootstrap.UNKNOWN_SERVICE)
            shadow, _ = inside.check_in("old", shared)
            everywhere(checks, inside, shared, shadow)
            everywhere(checks, boot, shared, outer)
            with inside.subset(dialect, kept) as port:
                deeper = Bootstrap(through=port)
            everywhere(checks, deeper, shared, shadow)
            for up, receive in ((deeper.parent(dialect), shadow), (deeper.root(), outer)):
                with up:
                    above = Bootstrap(through=up)
                everywhere(checks, above, shared, receive)
                above.close()
            requestor.close()
            mine.close()
            for end in (inside, deeper):
                becomes(checks, bootstrap.NOT_PRIVILEGED, end.create_service, f"{prefix}.late.{time.monotonic_ns()}")
                everywhere(checks, end, shared, outer)
                end.close()
            shadow.close()
    checks.same("no requestor", code_of(boot.subset, "old", "null"), bootstrap.NOT_PRIVILEGED)
    checks.same("a dead requestor", code_of(boot.subset, "old", "dead"), 17)
    outer.close()
