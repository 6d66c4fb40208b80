# SPDX-License-Identifier: Apache-2.0
"""A client of the network service, written from the protocol's description alone.

    python3 exercise.py BOOTSTRAP_SOCKET SERVICE_PID

The networks "one" and "two" overlap, "others" is not this user's, "n0" to "n8" are anybody's. The service is killed at the end. What was
checked is counted on the last line.
"""

import ipaddress
import os
import resource
import signal
import socket
import struct
import sys
import time

import xpc

SERVICE = "com.github.nirs.vmnet-broker"
checks = 0


def check(what, ok):
    global checks
    checks += 1
    if not ok:
        raise SystemExit("wrong: %s" % (what,))


def error(root):
    """The code of a reply that has nothing else."""
    check(("only an error", root), list(root) == ["error"] and root["error"][0] == xpc.INT64)
    return root["error"][1]


def acquire(c, name, **more):
    return c.call({"command": "acquire", "network_name": name, **more})


def network(root):
    """The details of a reply that succeeded."""
    check(("only a network", root), list(root) == ["network"] and root["network"][0] == xpc.DICTIONARY)
    n = root["network"][1]
    want = [
        ("interface", xpc.FD), ("kind", xpc.STRING), ("name", xpc.STRING), ("mode", xpc.STRING), ("subnet", xpc.STRING),
        ("mask", xpc.STRING), ("gateway", xpc.STRING), ("dns", xpc.STRING), ("mtu", xpc.UINT64), ("mac", xpc.STRING),
        ("ip", xpc.STRING), ("lease", xpc.UINT64), ("driver", xpc.STRING), ("version", xpc.UINT64),
        ("id", xpc.STRING),
    ]  # fmt: skip
    check(("keys, types and order", n), [(k, t) for k, (t, _) in n.items()] == want)
    return {k: v for k, (_, v) in n.items()}


def details(c, name, **more):
    """The details without the descriptor, which is closed."""
    n = network(acquire(c, name, **more))
    os.close(n.pop("interface"))
    return n


def leases(c):
    root = c.call({"command": "leases", "version": (xpc.UINT64, 1)})
    return {v["id"][1]: v for _, v in root["leases"][1]}


def eventually(what, holds):
    end = time.monotonic() + 60
    while not holds():
        check(("in time", what), time.monotonic() < end)
        time.sleep(0.002)


def arp(fd, n):
    """Asks who has the gateway's address: the first frames of a guest."""
    guest = socket.socket(fileno=os.dup(fd))
    guest.settimeout(60)
    mac = bytes.fromhex(n["mac"].replace(":", ""))
    address = ipaddress.ip_address
    frame = b"\xff" * 6 + mac + struct.pack(">HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1)
    frame += mac + address(n["ip"]).packed + b"\0" * 6 + address(n["gateway"]).packed
    guest.sendall(struct.pack(">I", len(frame)) + frame)

    def exactly(count):
        b = b""
        while len(b) < count:
            more = guest.recv(count - len(b))
            check("the interface is alive", more)
            b += more
        return b

    while True:
        frame = exactly(struct.unpack(">I", exactly(4))[0])
        if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2":
            break
    check("the gateway answers", frame[28:32] == address(n["gateway"]).packed and frame[:6] == mac)
    guest.close()


def test_look_up(path):
    check("an unknown name is 1102", xpc.look_up(path, "com.example.nothing") == 1102)
    port = xpc.look_up(path, SERVICE)
    check("the service has a port", isinstance(port, socket.socket))
    return port


def test_acquire(port):
    c = xpc.Connection(port)
    n = network(acquire(c, "shared"))
    subnet = ipaddress.ip_network(n["subnet"] + "/" + n["mask"])
    check("the subnet's second address is the gateway's", str(subnet[1]) == n["gateway"])
    check("the guest's address is in the subnet", ipaddress.ip_address(n["ip"]) in subnet)
    check("kind, name, mode", (n["kind"], n["name"], n["mode"]) == ("stream", "shared", "shared"))
    check("mtu, driver, version", (n["mtu"], n["driver"], n["version"]) == (1500, "user", 1))
    end = socket.socket(fileno=os.dup(n["interface"]))
    check("the interface is a stream", end.type == socket.SOCK_STREAM and end.family == socket.AF_UNIX)
    end.close()
    arp(n["interface"], n)
    for _ in range(9):
        again = network(acquire(c, "shared"))
        check("the same interface", xpc.inode(again["interface"]) == xpc.inode(n["interface"]))
        os.close(again.pop("interface"))
        check("the same lease", again == {k: v for k, v in n.items() if k != "interface"})
    arp(n["interface"], n)
    check("the other mode", details(c, "host")["mode"] == "host")
    old = c.reply(c.request({"command": "acquire", "network_name": "shared"}, xpc.OLD), xpc.OLD)
    os.close(network(old)["interface"])
    c.request({"command": "acquire", "network_name": "n0"}, local=0)  # no reply is wanted
    check("held without a reply", details(c, "n0")["lease"] > n["lease"])
    os.close(n["interface"])
    c.close()


def test_unknown_keys(port):
    c = xpc.Connection(port)
    null = os.open(os.devnull, os.O_RDONLY)
    more = {"later": [None, True, (xpc.INT64, -1), {"a": b"bytes"}], "file": (xpc.FD, null), "version": "none of yours"}
    check("unknown keys are ignored", details(c, "shared", **more)["name"] == "shared")
    os.close(null)
    c.close()


def test_errors(port):
    c, other = xpc.Connection(port), xpc.Connection(port)
    check("no command: 4", error(c.call({})) == 4)
    check("no name: 4", error(c.call({"command": "acquire"})) == 4)
    check("a name that is a number: 4", error(c.call({"command": "acquire", "network_name": (xpc.UINT64, 5)})) == 4)
    check("unknown command: 4", error(c.call({"command": "release", "lease": (xpc.UINT64, 1)})) == 4)
    check("unknown network: 5", error(acquire(c, "nowhere")) == 5)
    check("no network's name: 5", error(acquire(c, "../n0")) == 5)
    check("another's network: 3", error(acquire(c, "others")) == 3)
    details(c, "one")
    check("overlap: 6", error(acquire(other, "two")) == 6)
    for i in range(7):
        details(c, "n%d" % i)
    check("the ninth network: 7", error(acquire(c, "n7")) == 7)
    details(c, "n6")
    details(other, "n7")
    check("four requests at once", sorted(c.request({"command": "acquire", "network_name": "n6"}) for _ in range(4)))
    for back in range(3, -1, -1):
        os.close(network(c.reply(c.token - back))["interface"])
    # What is no dictionary is answered, and the connection goes on.
    for payload in (b"", b"CPX@" + bytes(16), b"CPX@" + struct.pack("<I", 5) + xpc.encode([], []), xpc.CURRENT + struct.pack("<I", 4)):
        c.token += 1
        c.raw(xpc.packet(xpc.MESSAGE, 1, c.token, payload))
        check("cannot be read: 22", error(c.reply(c.token)) == 22)
    details(c, "n6")
    c.close()
    other.close()


def test_faults(port):
    """What is no message ends the connection."""
    null = os.open(os.devnull, os.O_RDONLY)
    payload = xpc.CURRENT + struct.pack("<I", 5) + xpc.encode({"command": "acquire"}, [])
    good = xpc.packet(xpc.MESSAGE, 1, 9, payload)
    for what, data, fds in (
        ("short", good[:20], []),
        ("size", good[:4] + struct.pack("<I", len(good) + 4) + good[8:], []),
        ("unknown id", xpc.packet(0x50000000, 1, 9, payload), []),
        ("a reply", xpc.packet(xpc.REPLY, 9, 0, payload), []),
        ("a routine of launchd", xpc.packet(0x40000064, 1, 9, payload), []),
        ("too long", xpc.packet(xpc.MESSAGE, 1, 9, payload + bytes(70000)), []),
        ("a descriptor too many", good, [null]),
        ("a descriptor too few", xpc.packet(xpc.MESSAGE, 1, 9, payload, [(17, null)]), []),
        ("a second handshake", xpc.packet(xpc.HANDSHAKE, 1, 0, b""), []),
    ):
        c = xpc.Connection(port)
        c.raw(data, fds)
        check(("the connection ends", what), c.gone())
        c.close()
    # What is no handshake at the port is dropped, and the port stays.
    a, b = xpc.pair()
    for data, fds in (
        (good, []),
        (xpc.packet(xpc.HANDSHAKE, 1, 0, b"", [(16, a)]), [a.fileno()]),
        (xpc.packet(xpc.HANDSHAKE, 1, 0, b"", [(20, a), (16, b)]), [a.fileno(), b.fileno()]),
        (xpc.packet(xpc.HANDSHAKE, 1, 0, b"", [(16, a), (20, b)]), [null, null]),
        (b"x", []),
    ):
        xpc.send(port, data, fds)
    a.close()
    b.close()
    os.close(null)
    c = xpc.Connection(port)
    details(c, "shared")
    c.close()


def test_death_of_connection(port):
    watcher = xpc.Connection(port)
    c = xpc.Connection(port)
    first = details(c, "shared", id="python-vm")
    check("it is listed", leases(watcher)["python-vm"]["ip"][1] == first["ip"])
    check("with its process", leases(watcher)["python-vm"]["pid"][1] == os.getpid())
    c.close()
    c = xpc.Connection(port)
    again = details(c, "shared", id="python-vm")
    check("the same address again", {k: again[k] for k in ("ip", "mac", "subnet")} == {k: first[k] for k in ("ip", "mac", "subnet")})
    check("another lease", again["lease"] != first["lease"])
    c.close()
    eventually("the lease ends", lambda: "python-vm" not in leases(watcher))
    watcher.close()


def test_death_of_process(port):
    """A child that goes on keeps the sockets open, but not the lease."""
    watcher = xpc.Connection(port)
    stop_read, stop_write = os.pipe()
    maker = os.fork()
    if maker == 0:
        c = xpc.Connection(port)
        details(c, "shared", id="forked-vm")
        if os.fork() == 0:
            os.close(stop_write)
            os.read(stop_read, 1)  # until the test is over
        os._exit(0)
    os.close(stop_read)
    check("the maker ends well", os.waitpid(maker, 0)[1] == 0)
    eventually("the lease ends with the process", lambda: "forked-vm" not in leases(watcher))
    os.close(stop_write)
    watcher.close()


def test_death_of_service(path, port, pid):
    c = xpc.Connection(port)
    n = network(acquire(c, "shared"))
    arp(n["interface"], n)
    os.kill(pid, signal.SIGKILL)
    check("the connection ends", c.gone())
    guest = socket.socket(fileno=n["interface"])
    guest.settimeout(60)
    try:
        while guest.recv(4096):
            pass
    except ConnectionResetError:
        pass
    try:
        acquire(c, "shared")
        check("a request fails", False)
    except xpc.Gone:
        pass
    guest.close()
    c.close()
    eventually("its name is gone", lambda: xpc.look_up(path, SERVICE) == 1102)


def main():
    path, pid = sys.argv[1], int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    before = len(os.listdir("/proc/self/fd"))
    port = test_look_up(path)
    test_acquire(port)
    test_unknown_keys(port)
    test_errors(port)
    test_faults(port)
    test_death_of_connection(port)
    test_death_of_process(port)
    test_death_of_service(path, port, pid)
    port.close()
    check("no descriptor is left", len(os.listdir("/proc/self/fd")) == before)
    print(checks)


main()
