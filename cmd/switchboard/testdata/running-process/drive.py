# SPDX-License-Identifier: Apache-2.0
"""Starting the C backend as a broker starts one, and playing the broker's side of probe and handoff."""

import array
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import calls
import rules
import wire
from blake3_pure import blake3
from messages import CONTROL, EVENT, HANDOFF, RESPONSE

BINARY = ""  # the built backend, set by backend_test.py
ENV = "RUNNING_PROCESS_BROKER_V1_"
IMAGE_HASHES = {}
WAIT = 10.0


def wait_until(true, seconds=WAIT):
    """Polls true() and returns its first true value, or the last one after seconds."""
    end = time.monotonic() + seconds
    while not (value := true()) and time.monotonic() < end:
        time.sleep(0.005)
    return value


class Backend:
    """A running copy of the backend in a folder of its own; mode is put in its file's name."""

    def __init__(self, mode="", listener=None, listener_text=None, by_variable=False, keep=None):
        self.folder = keep or tempfile.mkdtemp(prefix="rpb")
        name = f"backend-{mode}" if mode and not by_variable else "backend"
        self.exe = os.path.join(self.folder, name)
        if not os.path.exists(self.exe):
            shutil.copy(BINARY, self.exe)
        open(self.exe + ".log", "a").close()
        self.pipe = os.path.join(self.folder, "be.sock")
        self.handoff = os.path.join(self.folder, "ho.sock")
        environment = {
            ENV + "SERVICE_NAME": "tool", ENV + "SERVICE_VERSION": "1.2.3", ENV + "BACKEND_PIPE": self.pipe,
            ENV + "BACKEND_NAMESPACE": "shared", ENV + "HANDOFF_PIPE": self.handoff}
        if by_variable:
            environment["TEST_BACKEND"] = mode
        if listener is not None or listener_text is not None:
            text = listener_text or str(listener)
            environment["RUNNING_PROCESS_BROKER_LISTENER_FD"] = text
        self.process = subprocess.Popen([self.exe], env=environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        pass_fds=[] if listener is None else [listener])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        with open(self.exe + ".log", encoding="utf-8") as file:
            return file.read()

    def ready(self):
        return wait_until(lambda: "listening" in self.log() or self.process.poll() is not None)

    def dial(self, path=None):
        self.ready()
        return calls.dial(path or self.pipe, WAIT)

    def ask(self, text=b"ping"):
        with self.dial() as sock:
            return calls.backend_request(wire.Stream(sock), text)

    def identity(self):
        """What its probe answer must hold, worked out here."""
        if self.exe not in IMAGE_HASHES:
            with open(self.exe, "rb") as file:
                image = file.read()
            if image not in IMAGE_HASHES:
                IMAGE_HASHES[image] = blake3(image), hashlib.sha256(image).digest()
            IMAGE_HASHES[self.exe] = IMAGE_HASHES[image]
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            boot = file.read().strip()
        return {"pid": self.process.pid, "exe_path": self.exe, "boot_id": boot,
                "exe_hash": IMAGE_HASHES[self.exe][0], "sha256": IMAGE_HASHES[self.exe][1],
                "ipc_endpoint": {"namespace_id": "shared", "path": self.pipe}}

    def probe(self, sock=None):
        """The body of its answer and the DaemonProcess in it; Refusal if the identity is not its own."""
        nonce = os.urandom(32)
        with sock or self.dial() as sock:
            stream = wire.Stream(sock)
            stream.send(rules.probe_request(nonce))
            body = stream.receive()
        return body, rules.check_probe(body, nonce, self.identity())


class Handoffs:
    """A broker's connection to the handoff endpoint."""

    def __init__(self, backend):
        self.sock = backend.dial(backend.handoff)
        self.stream = wire.Stream(self.sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def pass_on(self, descriptors, token):
        """Step 4."""
        rights = array.array("i", descriptors)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
        self.sock.sendmsg([token], ancillary)

    def offer(self, token, correlation, **more):
        """Steps 5 and 6; the Ack. Refusal as a broker words it."""
        self.stream.send(rules.offer_frame(token, "tool", correlation, **more))
        return rules.check_ack(self.stream.receive(), token, correlation)

    def hand_over(self, sock, token, correlation):
        self.pass_on([sock.fileno()], token)
        return self.offer(token, correlation)


def event(token, correlation, accepted=True, kind=EVENT):
    """The body of step 7."""
    ack = {"token": token, "accepted": accepted, "correlation_id": correlation}
    return rules.request_frame(HANDOFF, wire.encode("HandoffAck", ack), correlation, kind=kind)


def negotiated(pipe, token=b"", frame=None, connection_id=1):
    """The body of a HelloReply to frame, a parsed request."""
    reply = {"negotiated": {
        "negotiated_protocol": 1, "daemon_version": "1.2.3", "backend_pipe": pipe, "keepalive_interval_secs": 1800,
        "server_capabilities": 1 if token else 0, "handle_passed_token": token, "connection_id": connection_id}}
    return rules.request_frame(CONTROL, wire.encode("HelloReply", reply), frame["request_id"], kind=RESPONSE,
                               traceparent=frame["traceparent"], tracestate=frame["tracestate"])


@contextlib.contextmanager
def door(serve):
    """A listening socket whose connections are given to serve(sock, parsed frame), one after another; its path."""
    with tempfile.TemporaryDirectory(prefix="rpd") as folder:
        path = os.path.join(folder, "broker.sock")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen(128)

        def run():
            while True:
                try:
                    sock = listener.accept()[0]
                except OSError:
                    return
                with sock:
                    try:
                        serve(sock, rules.parse_frame(wire.Stream(sock).receive()))
                    except calls.FAULTS:
                        pass

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield path
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join()


def terminated(process):
    """The exit code after SIGTERM."""
    process.send_signal(signal.SIGTERM)
    return process.wait(WAIT)
