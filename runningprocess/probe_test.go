// SPDX-License-Identifier: Apache-2.0

//go:build linux

package runningprocess

import (
	"crypto/sha256"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"lukechampine.com/blake3"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// expected is what the broker expects a backend to be.
func (p paths) expected(t *testing.T, pid int) (envelope.DaemonProcess, [32]byte) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	sum := blake3.Sum256(data)
	return envelope.DaemonProcess{
		PID: uint32(pid), ExePath: program, BootID: strings.TrimSpace(string(boot)), ExeHash: sum[:], ExeHashAlgorithm: "blake3",
		IPCEndpoint: &envelope.Endpoint{NamespaceID: space, Path: p.backend},
	}, sha256.Sum256(data)
}

func TestProbe(t *testing.T) {
	p := newPaths(t)
	cmd := p.start(t, listenerAt(t, p.backend))
	want, legacy := p.expected(t, cmd.Process.Pid)
	reply, nonce := probeOn(t, dialTest(t, p.backend))
	if err := envelope.CheckProbeReply(reply, nonce, want); err != nil {
		t.Error(err)
	}
	if tail := string(reply.Payload[len(reply.Payload)-34:]); tail != "\x1a\x20"+string(legacy[:]) {
		t.Errorf("the reply ends in %x", tail)
	}
	got, err := envelope.ParseProbeReply(reply, nonce)
	if err != nil || time.Since(time.UnixMilli(int64(got.StartedAtUnixMS))).Abs() > time.Minute {
		t.Errorf("started at %d (%v)", got.StartedAtUnixMS, err)
	}
	for field, lie := range map[string]func(*envelope.DaemonProcess){
		"pid":      func(d *envelope.DaemonProcess) { d.PID++ },
		"exe_path": func(d *envelope.DaemonProcess) { d.ExePath += "x" },
		"exe_hash": func(d *envelope.DaemonProcess) { d.ExeHash = make([]byte, 32) },
		"boot_id":  func(d *envelope.DaemonProcess) { d.BootID = "another" },
		"ipc_endpoint": func(d *envelope.DaemonProcess) {
			d.IPCEndpoint = &envelope.Endpoint{NamespaceID: "shared", Path: p.backend}
		},
	} {
		other := want
		lie(&other)
		var mismatch *envelope.MismatchError
		if err := envelope.CheckProbeReply(reply, nonce, other); !errors.As(err, &mismatch) || mismatch.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestProbesInARow has several on one connection, which is never a client's.
func TestProbesInARow(t *testing.T) {
	p := newPaths(t)
	l := p.listen(t)
	c := dialTest(t, p.backend)
	want, _ := p.expected(t, os.Getpid())
	for range 3 {
		reply, nonce := probeOn(t, c)
		if err := envelope.CheckProbeReply(reply, nonce, want); err != nil {
			t.Error(err)
		}
	}
	// Two at once, with a trace context, then one byte by byte.
	request := envelope.ProbeRequest([32]byte{1})
	request.TraceParent, request.TraceState = "00-aa-bb-01", "k=v"
	data := request.AppendFramed(nil)
	if _, err := c.Write(append(data, data...)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if f, err := ReadFrame(c, 0); err != nil || f.TraceParent != "00-aa-bb-01" || f.TraceState != "k=v" {
			t.Errorf("%+v, %v", f, err)
		}
	}
	for _, b := range data {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ReadFrame(c, 0); err != nil {
		t.Error(err)
	}
	if err := WriteFrame(c, envelope.Frame{PayloadProtocol: lane}); err != nil {
		t.Fatal(err)
	}
	closedBy(t, c)
	if l.queue.conns != nil {
		t.Error("a prober waits for Accept")
	}
}

// TestLaterProbe is for a program that lets probes come between requests.
func TestLaterProbe(t *testing.T) {
	p := newPaths(t)
	l := p.listen(t)
	want, _ := p.expected(t, os.Getpid())
	reply, err := l.ProbeReply(envelope.ProbeRequest([32]byte{9}))
	if err != nil || envelope.CheckProbeReply(reply, [32]byte{9}, want) != nil {
		t.Errorf("%+v, %v", reply, err)
	}
	if _, err := l.ProbeReply(envelope.Frame{EnvelopeVersion: 1, PayloadProtocol: lane}); err == nil {
		t.Error("it answers another frame")
	}
}
