// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// flood holds connections of the foreign client, of a kind that it knows, until the returned function is called. That returns how the
// broker has left them.
func (o *original) flood(t *testing.T, count int, kind string) (end func() map[string]int) {
	t.Helper()
	cmd := o.command(t, peerTool(t, "python3"), filepath.Join(peersFolder, "client.py"), "flood", o.socket(t), fmt.Sprint(count), kind)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	var said struct {
		Held    int
		Endings map[string]int
	}
	next := func() {
		lines.Scan()
		if err := json.Unmarshal(lines.Bytes(), &said); err != nil {
			t.Errorf("the flood said %q: %v", lines.Text(), err)
		}
	}
	if next(); said.Held != count {
		t.Errorf("%d of %d connections are held", said.Held, count)
	}
	return func() map[string]int {
		stdin.Close()
		next()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the flood ended with %v", err)
		}
		return said.Endings
	}
}

// medianHello is the median of some Hellos, one after the other, that are all negotiated.
func (o *original) medianHello(t *testing.T, service string, count int) time.Duration {
	t.Helper()
	all := make([]time.Duration, count)
	for i := range all {
		began := time.Now()
		o.hello(t, service, goodVersion)
		all[i] = time.Since(began)
	}
	slices.Sort(all)
	return all[count/2]
}

// TestRunningProcessNothingWaits: connections that send nothing, or half a request, or do not read, and a backend that takes long to
// start keep nobody else waiting. 17 of them stop the original.
func TestRunningProcessNothingWaits(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "quick", "adopt")
	o.define(t, "slow", "adopt-late-3000")
	o.define(t, "never", "never")
	o.serve(t)
	o.hello(t, "quick", goodVersion)
	const hellos = 100 // twice as many are within the rate limit
	quiet := o.medianHello(t, "quick", hellos)

	var ends []func() map[string]int
	for _, kind := range []string{"silent", "half-header", "half-body", "never-reads"} {
		ends = append(ends, o.flood(t, 16, kind))
	}
	slow, never := make(chan string, 1), make(chan string, 1)
	go func() { slow <- outcome(tryHello(o.socket(t), greeting("slow", goodVersion))) }()
	go func() { never <- outcome(tryHello(o.socket(t), greeting("never", goodVersion))) }()
	o.until(t, "the slow backends to be launched", func() bool { return len(o.children(t)) >= 3 })
	busy := o.medianHello(t, "quick", hellos)
	select {
	case got := <-slow:
		t.Errorf("%d Hellos took longer than the start of a slow backend: %v each, %v when nothing else was there (%s)", hellos, busy, quiet, got)
	default:
	}
	if busy > 50*quiet {
		t.Errorf("the median of Hellos is %v, and %v when nothing else is there", busy, quiet)
	}
	t.Logf("median Hello, connect included: %v quiet, %v busy", quiet, busy)
	for i, end := range ends {
		// Who has asked for administration was answered.
		if endings := end(); i < 3 && endings["open"] != 16 {
			t.Errorf("the connections of flood %d were left: %v", i, endings)
		}
	}
	if got := <-slow; !isNegotiated(got) {
		t.Errorf("the Hello for the slow backend: %s", got)
	}
	if len(never) > 0 {
		t.Errorf("the Hello for a backend that never listens: %s", <-never)
	}
}

func isNegotiated(outcome string) bool { return len(outcome) > 10 && outcome[:10] == "negotiated" }

// TestRunningProcessRate: a process may say 256 Hellos a second, others are not concerned. The original forgets what it counts.
func TestRunningProcessRate(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "quick", "adopt")
	o.serve(t)
	ids := make(map[uint64]bool)
	o.hello(t, "quick", goodVersion)
	for try := 0; ; try++ {
		time.Sleep(1100 * time.Millisecond) // the next one begins a window
		began := time.Now()
		granted, refusal := 0, envelope.Refused{}
		for ; granted < 1000; granted++ {
			reply, err := tryHello(o.socket(t), greeting("quick", goodVersion))
			if err == nil && reply.Refused != nil {
				refusal = *reply.Refused
				break
			}
			if err != nil || reply.Negotiated == nil {
				t.Fatal(outcome(reply, err))
			}
			if id := reply.Negotiated.ConnectionID; id == 0 || ids[id] {
				t.Fatalf("connection id %d again", id)
			}
			ids[reply.Negotiated.ConnectionID] = true
		}
		took := time.Since(began)
		if took > 900*time.Millisecond && try < 10 {
			continue // this machine is too busy for 257 in one window
		}
		if granted != 256 || refusal.Code != envelope.CodeRateLimited || refusal.Reason != "Hello rate limit exceeded" {
			t.Errorf("%d were granted within %v, then: %+v", granted, took, refusal)
		}
		if refusal.RetryAfterMS < 1 || refusal.RetryAfterMS > 1000 {
			t.Errorf("retry_after_ms is %d", refusal.RetryAfterMS)
		}
		if other := o.client(t, "hello", o.socket(t), "quick", goodVersion); other.Outcome != "negotiated" {
			t.Errorf("another process meanwhile: %+v", other)
		}
		time.Sleep(time.Duration(refusal.RetryAfterMS)*time.Millisecond + 5*time.Millisecond)
		o.hello(t, "quick", goodVersion)
		return
	}
}

// TestRunningProcessFewDescriptors: a broker without descriptors says so, goes on to serve administration, and recovers. The replies are
// the vectors'.
func TestRunningProcessFewDescriptors(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "quick", "adopt")
	o.limit = "ulimit -n 100"
	o.env = []string{"RUNNING_PROCESS_BROKER_HELLO_TIMEOUT_MS=600000"} // the idle ones do not go by themselves
	o.serve(t)
	o.hello(t, "quick", goodVersion)
	for _, idle := range []int{55, 200} { // few are left; or none
		var held []net.Conn
		for range idle {
			c, err := dialUnix(o.socket(t))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			held = append(held, c)
		}
		for _, name := range []string{"hello-fd-pressure", "admin-readyz-not-ready", "admin-healthz"} {
			v := findVector(t, name)
			if got := exchange(t, o.socket(t), v.bytes(t), false); hex.EncodeToString(got) != v.Expect.ReplyHex {
				t.Errorf("%d connections are idle: the reply to %s is\n%x, want\n%s", idle, name, got, v.Expect.ReplyHex)
			}
		}
		if reply := o.administer(t, envelope.AdminRequest{Verb: envelope.VerbStatus, JSON: true}); !strings.Contains(reply.Body, `"demoted":true`) {
			t.Errorf("status: %q", reply.Body)
		}
		for _, c := range held {
			c.Close()
		}
		o.until(t, "the broker to recover", func() bool {
			reply, err := tryHello(o.socket(t), greeting("quick", goodVersion))
			if err != nil {
				t.Fatal(err)
			}
			if reply.Refused != nil && reply.Refused.Code != envelope.CodeFDPressure {
				t.Fatal(outcome(reply, err))
			}
			return reply.Negotiated != nil
		})
	}
}
