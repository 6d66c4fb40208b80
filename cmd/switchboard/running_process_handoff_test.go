// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// adopted says a Hello that offers to take a handoff, and waits for it; the connection is then served by the backend.
func (o *original) adopted(t *testing.T, service string) (net.Conn, envelope.Negotiated) {
	t.Helper()
	c, err := dialUnix(o.socket(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	h := greeting(service, goodVersion)
	h.ClientCapabilities = envelope.HandlePassing
	reply, err := greet(c, h)
	if err != nil || reply.Negotiated == nil {
		t.Fatal(outcome(reply, err))
	}
	n := *reply.Negotiated
	if len(n.HandlePassedToken) != envelope.TokenSize || n.ServerCapabilities&envelope.HandlePassing == 0 || n.BackendPipe == "" {
		t.Fatalf("no handoff is offered: %+v", n)
	}
	_, f, err := takeFrame(c)
	if err != nil {
		t.Fatalf("no event of the handoff: %v", err)
	}
	ack, err := envelope.ParseHandoffAck(f.Payload)
	if err != nil || f.Kind != envelope.Event || f.PayloadProtocol != envelope.Handoff || f.RequestID != n.ConnectionID ||
		!ack.Accepted || string(ack.Token) != string(n.HandlePassedToken) || ack.CorrelationID != n.ConnectionID {
		t.Fatalf("the event is %+v with %+v, %v", f, ack, err)
	}
	return c, n
}

// TestRunningProcessHandoff: a client's connection is handed to the backend that was launched, the same one that others connect to, and
// counts as a connection of it. The original hands nothing to what it launches.
func TestRunningProcessHandoff(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "tool", "adopt")
	o.serve(t)
	_, pid := ping(t, o.hello(t, "tool", goodVersion).BackendPipe)
	ids := make(map[uint64]bool)
	var conns []net.Conn
	for range 3 {
		c, n := o.adopted(t, "tool")
		for range 2 { // it stays the backend's
			identity, err := askOn(c, "ping")
			if err != nil || number(t, identity, "pid") != pid || !strings.Contains(identity, "via=handoff") {
				t.Fatalf("on the connection answers %q, %v; want process %d", identity, err, pid)
			}
		}
		if ids[n.ConnectionID] {
			t.Errorf("connection id %d again", n.ConnectionID)
		}
		ids[n.ConnectionID] = true
		conns = append(conns, c)
	}
	connected := func(want int) func() bool {
		return func() bool { return o.connected(t, "tool") == want }
	}
	o.until(t, "3 connections to be counted", connected(3))
	conns[0].Close()
	o.until(t, "2 connections to be counted", connected(2))

	// A plain client that cannot take one is offered none.
	reply, err := tryHello(o.socket(t), greeting("tool", goodVersion))
	if n := reply.Negotiated; n == nil || n.HandlePassedToken != nil || n.ServerCapabilities != 0 {
		t.Error(outcome(reply, err))
	}
	if got := o.client(t, "hello", o.socket(t), "tool", goodVersion, "--adopt"); got.Way != "handoff" || got.Backend.PID != pid {
		t.Errorf("the foreign client: %+v", got)
	}
}

// connected is the number of connections that ls shows of a name.
func (o *original) connected(t *testing.T, name string) int {
	t.Helper()
	out, err := o.run(t, "ls", name, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Connections int
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 {
		t.Fatalf("ls prints %s (%v)", out, err)
	}
	return all[0].Connections
}

// TestRunningProcessHandoffFails: whatever fails in a handoff, the client connects to the pipe that it was told, and is served by a
// process of the right version.
func TestRunningProcessHandoffFails(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	modes := []string{"refuse", "silent", "close", "token", "id", "kind", "late-3000", "slow"}
	for _, mode := range modes {
		o.define(t, mode, map[bool]string{true: "slow-accept-50", false: "handoff-" + mode}[mode == "slow"])
	}
	o.define(t, "none", "nohandoff")
	o.define(t, "blocking", "handoff-blocking")
	o.serve(t)
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			before := o.client(t, "hello", o.socket(t), mode, goodVersion)
			for range 2 { // the second one as well as the first
				got := o.client(t, "hello", o.socket(t), mode, goodVersion, "--adopt")
				if got.Outcome != "negotiated" || got.Error != "" || got.Backend.PID != before.Backend.PID {
					t.Errorf("%+v, want an answer by process %d", got, before.Backend.PID)
				}
				if mode != "slow" && got.Way != "reconnect" {
					t.Errorf("the handoff succeeded: %+v", got)
				}
			}
			if after := o.client(t, "hello", o.socket(t), mode, goodVersion); after.Backend.PID != before.Backend.PID {
				t.Errorf("after it answers %+v, want process %d", after, before.Backend.PID)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		if got := o.client(t, "hello", o.socket(t), "none", goodVersion, "--adopt"); got.Way != "reconnect" || got.Backend.PID == 0 || got.NotAdopted != "" {
			t.Errorf("%+v, want no handoff offered", got)
		}
	})
	t.Run("blocking", func(t *testing.T) { // the flag is of what the broker and the backend share
		t.Parallel()
		for range 3 {
			if got := o.client(t, "hello", o.socket(t), "blocking", goodVersion, "--adopt"); got.Way != "handoff" || got.Backend.PID == 0 {
				t.Errorf("%+v", got)
			}
		}
		o.hello(t, "none", goodVersion)
	})
}

// TestRunningProcessHandoffCrash: a backend that dies of a handoff takes no broker and no later client with it.
func TestRunningProcessHandoffCrash(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "frail", "handoff-crash")
	o.define(t, "rude", "handoff-drop")
	o.serve(t)
	pipe := o.hello(t, "frail", goodVersion).BackendPipe
	_, pid := ping(t, pipe)
	o.client(t, "hello", o.socket(t), "frail", goodVersion, "--adopt", "--timeout", "10")
	o.after(t, pipe, "frail")
	time.Sleep(300 * time.Millisecond) // section 8: the first crash keeps newcomers away for 250 ms
	if identity, next := ping(t, o.hello(t, "frail", goodVersion).BackendPipe); next == pid {
		t.Errorf("the dead one answers: %s", identity)
	}
	o.client(t, "hello", o.socket(t), "rude", goodVersion, "--adopt", "--timeout", "10") // it was accepted, and closed
	if identity, _ := ping(t, o.hello(t, "rude", goodVersion).BackendPipe); !strings.Contains(identity, "via=direct") {
		t.Errorf("the backend says %q", identity)
	}
	o.noZombies(t)
}

// TestRunningProcessManyHandoffs: handoffs to one backend at the same time all succeed, or fall back.
func TestRunningProcessManyHandoffs(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "tool", "adopt")
	o.serve(t)
	const n = 64
	got := o.client(t, "many", o.socket(t), "tool", goodVersion, "64", "--adopt")
	if got.Outcomes["negotiated"] != n || got.Answered != n || len(got.PIDs) != 1 || len(got.Errors) > 0 || got.Ways["handoff"] < n/2 {
		t.Errorf("%+v", got)
	}
}
