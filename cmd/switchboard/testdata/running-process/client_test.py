# SPDX-License-Identifier: Apache-2.0
"""The client against canned replies and the C backend: python3 client_test.py BACKEND [TEST]."""

import json
import os
import subprocess
import sys
import unittest

import calls
import client
import drive
import load
import rules
import wire
from drive import Backend, Handoffs
from messages import CONTROL, RESPONSE, TOKEN_BYTES


def hello_body(**more):
    return rules.request_frame(CONTROL, calls.hello_message("tool", "1.2.3", **more), 1, traceparent="00-ab-cd-01")


class Client(unittest.TestCase):
    def test_adopts(self):
        with Backend() as backend, Handoffs(backend) as broker:
            token = os.urandom(TOKEN_BYTES)

            def serve(sock, frame):
                stream = wire.Stream(sock)
                stream.send(drive.negotiated(backend.pipe, token, frame, 7))
                broker.hand_over(sock, token, 7)
                stream.send(drive.event(token, 7))

            with drive.door(serve) as path:
                out = calls.hello(path, hello_body(), adopt=True)
            self.assertEqual((out["outcome"], out.get("way"), out["frame"]["traceparent"]),
                             ("negotiated", "handoff", "00-ab-cd-01"), out)
            self.assertIn("via=handoff", out["backend"]["reply"])
            self.assertEqual(out["backend"]["pid"], backend.process.pid)

    def test_reconnects(self):
        token = os.urandom(TOKEN_BYTES)
        for name, body in (("none", None), ("token", drive.event(bytes(16), 1)), ("kind", drive.event(token, 1, kind=1)),
                           ("refused", drive.event(token, 1, False)), ("nothing offered", None)):
            with self.subTest(name), Backend() as backend:
                def serve(sock, frame):
                    stream = wire.Stream(sock)
                    stream.send(drive.negotiated(backend.pipe, b"" if name == "nothing offered" else token, frame))
                    if body:
                        stream.send(body)

                backend.ready()
                with drive.door(serve) as path:
                    out = calls.hello(path, hello_body(), adopt=True)
                self.assertEqual((out["outcome"], out.get("way")), ("negotiated", "reconnect"), out)
                self.assertIn("via=direct", out["backend"]["reply"])

    def test_refusal_close_and_admin(self):
        def refuse(sock, frame):
            reply = {"refused": {"reason": "no", "code": 4, "daemon_min_protocol": 1, "retry_after_ms": 12}}
            body = rules.request_frame(CONTROL, wire.encode("HelloReply", reply), 1, kind=RESPONSE)
            wire.Stream(sock).send(body)

        with drive.door(refuse) as path:
            out = calls.hello(path, hello_body())
            self.assertEqual((out["outcome"], out["code_name"], out["retry_after_ms"], out["then"]),
                             ("refused", "ERROR_RATE_LIMITED", 12, "eof"))
            raw = calls.raw(path, wire.frame_bytes(hello_body()))
            self.assertEqual((raw["closed"], raw["frames"][0]["hello_reply"]["refused"]["reason"]), ("eof", "no"))
        with drive.door(lambda sock, frame: None) as path:
            self.assertEqual(calls.hello(path, hello_body())["outcome"], "closed")
            self.assertEqual(calls.admin(path, {"verb": 4})["outcome"], "closed")

        def healthy(sock, frame):
            reply = wire.encode("AdminReply", {"body": "ok\n", "content_type": "text/plain"})
            wire.Stream(sock).send(rules.request_frame(frame["payload_protocol"], reply, 44, kind=RESPONSE))

        with drive.door(healthy) as path:
            words = [sys.executable, client.__file__, "admin", path, "healthz", "--body"]
            self.assertEqual(subprocess.run(words, capture_output=True, check=True).stdout, b"ok\n")
            out = calls.admin(path, {"verb": 4})
            self.assertEqual((out["kind_name"], out["exit_code"], out["then"]), ("TEXT", 0, "eof"))

    def test_many_bench_and_flood(self):
        with Backend() as backend:
            backend.ready()
            with drive.door(lambda sock, frame: wire.Stream(sock).send(
                    drive.negotiated(backend.pipe, b"", frame))) as path:
                for by_threads in (False, True):
                    out = load.many(8, lambda: calls.hello(path, hello_body()), by_threads)
                    self.assertEqual((out["outcomes"], out["answered"], out["backend_pids"]),
                                     ({"negotiated": 8}, 8, {str(backend.process.pid): 8}), out)
                words = [sys.executable, client.__file__, "bench", path, "tool", "1.2.3", "60",
                         "--processes", "2", "--per-process", "30"]
                done = subprocess.run(words, capture_output=True, check=False)
                out = json.loads(done.stdout)
                self.assertEqual((done.returncode, out["count"], out["other"]), (0, 120, {}), out)
        with Backend("deaf") as backend:
            backend.ready()
            for kind in load.FLOOD_KINDS:
                words = [sys.executable, client.__file__, "flood", backend.pipe, "5", kind, "--seconds", "0"]
                lines = subprocess.run(words, capture_output=True, check=True).stdout.splitlines()
                self.assertEqual([json.loads(line) for line in lines],
                                 [{"held": 5, "failed": 0}, {"endings": {"open": 5}}])

    def test_body_size(self):
        for size in (65536, 65537, 1000):
            args = client.parse(["hello", "x", "tool", "1.2.3", "--body-size", str(size)])
            body = client.hello_body(args)
            self.assertEqual(len(body), size)
            wire.decode("Hello", rules.parse_frame(body)["payload"])


if __name__ == "__main__":
    drive.BINARY = os.path.abspath(sys.argv.pop(1))
    unittest.main()
