# SPDX-License-Identifier: Apache-2.0
"""Drives backend.c by probe, request and handoff: python3 backend_test.py BACKEND [TEST]."""

import os
import signal
import socket
import sys
import time
import unittest

import calls
import drive
import rules
import wire
from drive import Backend, Handoffs
from messages import CONTROL, TOKEN_BYTES


def hello_body(**more):
    return rules.request_frame(CONTROL, calls.hello_message("tool", "1.2.3", **more), 1, traceparent="00-ab-cd-01")


class Probe(unittest.TestCase):
    def test_bound(self):
        with Backend() as backend:
            body, process = backend.probe()
            identity = backend.identity()
            self.assertTrue(rules.parse_frame(body)["payload"].endswith(b"\x1a\x20" + identity["sha256"]))
            self.assertLess(abs(process["started_at_unix_ms"] - time.time() * 1000), 60000)
            self.assertEqual(calls.describe(backend.ask())["pid"], backend.process.pid)
            self.assertIn(b"version=1.2.3 service=tool via=direct listener=bound", backend.ask())
            self.assertEqual(drive.terminated(backend.process), 0)
            self.assertFalse(os.path.exists(backend.pipe) or os.path.exists(backend.handoff))

    def test_adopted(self):
        for nonblocking in (False, True):
            with self.subTest(nonblocking=nonblocking), socket.socket(socket.AF_UNIX) as listener:
                listener.bind(f"\0rpb-{os.getpid()}-{nonblocking}")
                listener.listen()
                listener.setblocking(not nonblocking)
                with Backend("adopt", listener.fileno()) as backend:
                    sock = socket.socket(socket.AF_UNIX)
                    sock.connect(listener.getsockname())
                    backend.probe(sock)
                    self.assertFalse(os.path.exists(backend.pipe))

    def test_bad_listener_is_fatal(self):
        ours, theirs = socket.socketpair()
        with ours, theirs, open("/dev/null", "rb") as file:
            for number, text in ((ours.fileno(), None), (file.fileno(), None), (None, "x"), (None, "3x"), (None, "999")):
                with self.subTest(number=number, text=text), Backend("", number, text) as backend:
                    self.assertEqual(backend.process.wait(drive.WAIT), 3)
                    self.assertFalse(os.path.exists(backend.pipe))
        with Backend("adopt") as backend:
            self.assertEqual(backend.process.wait(drive.WAIT), 3)

    def test_lies(self):
        lies = {
            "pid": "mismatch: pid", "path": "mismatch: exe_path", "hash": "mismatch: exe_hash",
            "boot": "mismatch: boot_id", "endpoint": "mismatch: ipc_endpoint", "namespace": "mismatch: ipc_endpoint",
            "nonce": "nonce does not match endpoint probe request", "kind": "kind is not RESPONSE",
            "id": "request_id does not match endpoint probe request", "short": "payload shorter than nonce",
            "algorithm": "unsupported daemon executable hash algorithm \"sha256\"; expected blake3",
            "size": "daemon process exe_hash must be 32 bytes, got 31",
            "missing": "daemon process is missing ipc_endpoint",
        }
        for lie, text in lies.items():
            with self.subTest(lie), Backend(f"wrong-{lie}") as backend:
                with self.assertRaises(rules.Refusal) as caught:
                    backend.probe()
                self.assertEqual(str(caught.exception), text)

    def test_plain(self):
        with Backend("plain", by_variable=True) as backend:
            body, process = backend.probe()
            self.assertEqual(rules.parse_frame(body)["payload"][32:], wire.encode("DaemonProcess", process))

    def test_other_frames_end_the_connection(self):
        frames = (hello_body(), rules.request_frame(0x7002, b"", 1), rules.request_frame(0xB232, bytes(31), 1),
                  b"\xff\xff\xff", rules.request_frame(0xF415, b"ping", 1, envelope_version=2))
        with Backend() as backend:
            for body in frames:
                with self.subTest(body.hex()), backend.dial() as sock:
                    wire.Stream(sock).send(body)
                    self.assertEqual(calls.ending(sock, drive.WAIT), "eof")
            with backend.dial() as sock:
                sock.sendall(b"\x02\0\0\0\0")
                self.assertIn(calls.ending(sock, drive.WAIT), ("eof", "reset"))

    def test_requests(self):
        with Backend() as backend, backend.dial() as sock:
            stream, big = wire.Stream(sock), bytes(range(256)) * 4096
            for number in range(1, 4):
                self.assertIn(b"pid=", calls.backend_request(stream, b"ping", number))
            self.assertEqual(calls.backend_request(stream, b"echo " + big, 4), big)
            self.assertIn(b"SERVICE_NAME=tool\n", calls.backend_request(stream, b"env", 5))
            self.assertIn(b"socket:", calls.backend_request(stream, b"fds", 6))
            with self.assertRaises(calls.FAULTS):
                calls.backend_request(stream, b"close", 7)


class Modes(unittest.TestCase):
    def test_late(self):
        start = time.monotonic()
        with Backend("late-300") as backend:
            self.assertFalse(os.path.exists(backend.pipe))
            backend.probe()
            self.assertGreater(time.monotonic() - start, 0.3)

    def test_never_deaf_hangup(self):
        with Backend("never") as backend:
            time.sleep(0.1)
            self.assertFalse(os.path.exists(backend.pipe))
        for mode, want in (("deaf", "open"), ("hangup", "eof")):
            with self.subTest(mode), Backend(mode) as backend, backend.dial() as sock:
                self.assertEqual(calls.ending(sock, 0.2 if mode == "deaf" else drive.WAIT), want)

    def test_crashes(self):
        for mode in ("crash", "crash-50", "crash-probes-1"):
            with self.subTest(mode), Backend(mode) as backend:
                if mode == "crash-probes-1":
                    backend.probe()
                self.assertEqual(backend.process.wait(drive.WAIT), -signal.SIGKILL)
        with Backend("crash-starts-2") as first:
            self.assertEqual(first.process.wait(drive.WAIT), -signal.SIGKILL)
            second = Backend("crash-starts-2", keep=first.folder)
            self.assertEqual(second.process.wait(drive.WAIT), -signal.SIGKILL)
            with Backend("crash-starts-2", keep=first.folder) as third:
                third.probe()

    def test_path_in_use(self):
        with Backend() as first:
            first.ready()
            strict = Backend("strict", keep=first.folder)
            self.assertEqual(strict.process.wait(drive.WAIT), 3)
            with Backend("bind", keep=first.folder) as second:
                second.probe()

    def test_idle_noterm_helper_unknown(self):
        with Backend("idle-100") as backend:
            backend.probe()
            self.assertEqual(backend.process.wait(drive.WAIT), 0)
        with Backend("noterm-helper") as backend:
            backend.ready()
            backend.process.send_signal(signal.SIGTERM)
            words = dict(word.split("=", 1) for word in backend.ask().decode().split())
            self.assertEqual(words["pid"], str(backend.process.pid))
            os.kill(int(words["helper"]), signal.SIGKILL)
        with Backend("nonsense") as backend:
            self.assertEqual(backend.process.wait(drive.WAIT), 2)


class Handoff(unittest.TestCase):
    def pair(self):
        client_end, broker_end = socket.socketpair()
        self.addCleanup(client_end.close)
        self.addCleanup(broker_end.close)
        client_end.settimeout(drive.WAIT)
        return client_end, broker_end

    def served(self, client_end):
        self.assertIn(b"via=handoff", calls.backend_request(wire.Stream(client_end)))

    def test_one_after_another_and_at_once(self):
        with Backend() as backend, Handoffs(backend) as one, Handoffs(backend) as other:
            for number in range(1, 7):
                client_end, broker_end = self.pair()
                broker_end.setblocking(number % 3 != 0)
                ack = (one if number % 2 else other).hand_over(broker_end, os.urandom(TOKEN_BYTES), number)
                self.assertEqual(ack["error_detail"], "")
                broker_end.close()
                self.served(client_end)
                if number == 6:
                    backend.probe(client_end)

    def test_refusals(self):
        with Backend() as backend, Handoffs(backend) as broker:
            token = os.urandom(TOKEN_BYTES)
            client_end, broker_end = self.pair()
            for number, (offered, text) in enumerate((
                    (b"", "handoff token is missing"),
                    (b"\1\2\3", "handoff token length was 3 bytes; expected 16"),
                    (bytes(TOKEN_BYTES), "handoff token mismatch"))):
                broker.pass_on([broker_end.fileno()], token)
                with self.assertRaisesRegex(rules.Refusal, text):
                    broker.offer(offered, number + 1)
            broker.hand_over(broker_end, token, 9)  # the mismatch left it usable
            self.served(client_end)
            with self.assertRaisesRegex(rules.Refusal, "handoff token is not pending"):
                broker.hand_over(broker_end, token, 10)

    def test_broken_brokers(self):
        def no_descriptor(broker, end, token):
            broker.pass_on([], token)

        def two_descriptors(broker, end, token):
            broker.pass_on([end.fileno(), end.fileno()], token)

        def other_id(broker, end, token):
            broker.pass_on([end.fileno()], token)
            broker.stream.send(rules.offer_frame(token, "tool", 1, 2))

        def other_protocol(broker, end, token):
            broker.pass_on([end.fileno()], token)
            broker.stream.send(rules.request_frame(CONTROL, b"", 1))

        def garbage(broker, end, token):
            broker.pass_on([end.fileno()], token)
            broker.stream.send(b"\xff\xff\xff")

        with Backend() as backend:
            for broken in (no_descriptor, two_descriptors, other_id, other_protocol, garbage):
                with self.subTest(broken.__name__), Handoffs(backend) as broker:
                    client_end, broker_end = self.pair()
                    broken(broker, broker_end, os.urandom(TOKEN_BYTES))
                    self.assertIn(calls.ending(broker.sock, drive.WAIT), ("eof", "reset"))
                    broker_end.close()
                    self.assertEqual(calls.ending(client_end, drive.WAIT), "eof")  # nobody kept it

    def test_faulty_backends(self):
        faults = {
            "refuse": "rejected: refused by mode", "token": "token echo does not match",
            "id": "correlation id 2 does not match", "kind": "kind is not RESPONSE",
            "close": None, "crash": None, "silent": None,
        }
        for mode, text in faults.items():
            with self.subTest(mode), Backend(f"handoff-{mode}") as backend, Handoffs(backend) as broker:
                broker.sock.settimeout(0.3 if mode == "silent" else drive.WAIT)
                with self.assertRaisesRegex((rules.Refusal, wire.ShortRead, OSError), text or ""):
                    broker.hand_over(self.pair()[1], os.urandom(TOKEN_BYTES), 1)
        with Backend("handoff-drop") as backend, Handoffs(backend) as broker:
            client_end, broker_end = self.pair()
            broker.hand_over(broker_end, os.urandom(TOKEN_BYTES), 1)
            broker_end.close()
            self.assertEqual(calls.ending(client_end, drive.WAIT), "eof")
        with Backend("handoff-late-300-handoff-blocking") as backend, Handoffs(backend) as broker:
            start, (_, broker_end) = time.monotonic(), self.pair()
            broker_end.setblocking(False)
            broker.hand_over(broker_end, os.urandom(TOKEN_BYTES), 1)
            self.assertGreater(time.monotonic() - start, 0.3)
            self.assertTrue(drive.wait_until(lambda: os.get_blocking(broker_end.fileno())))
        with Backend("nohandoff") as backend, self.assertRaises(OSError):
            Handoffs(backend)


if __name__ == "__main__":
    drive.BINARY = os.path.abspath(sys.argv.pop(1))
    unittest.main()
