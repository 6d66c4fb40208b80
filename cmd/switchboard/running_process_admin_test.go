// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// adminElsewhere are vectors of administration that are tested elsewhere, or differ on purpose.
var adminElsewhere = map[string]string{
	"admin-readyz-not-ready": "see TestRunningProcessFewDescriptors",
	"admin-metrics":          "the original has no samples; see TestRunningProcessMetrics",
	"admin-shutdown":         "see TestRunningProcessShutdown",
}

// TestRunningProcessVectorAdmin sends every vector of administration to a broker: replies are compared byte by byte, of JSON what the
// vector says. The broker survives what is no request; the original ends.
func TestRunningProcessVectorAdmin(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "zccache", "adopt")
	o.serve(t)
	o.hello(t, "zccache", "1.11.20")
	left := make(map[string]string)
	for name, why := range adminElsewhere {
		left[name] = why
	}
	for _, v := range vectors(t) {
		if !strings.HasPrefix(v.Name, "admin-") {
			continue
		}
		if adminElsewhere[v.Name] != "" {
			delete(left, v.Name)
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			got := exchange(t, o.socket(t), v.bytes(t), false)
			switch {
			case v.Expect.Outcome == "close without reply":
				if len(got) > 0 {
					t.Errorf("the reply is %x", got)
				}
			case v.Expect.Outcome != "admin":
				t.Errorf("a new kind of expectation: %q", v.Expect.Outcome)
			case v.Expect.ReplyHex != "":
				if hex.EncodeToString(got) != v.Expect.ReplyHex {
					t.Errorf("the reply is\n%x, want\n%s", got, v.Expect.ReplyHex)
				}
			default:
				compareJSON(t, v, got)
			}
		})
	}
	if len(left) > 0 {
		t.Errorf("there are no such vectors: %v", left)
	}
}

func compareJSON(t *testing.T, v vector, framed []byte) {
	t.Helper()
	if len(framed) < envelope.HeaderSize {
		t.Fatalf("the reply is %x", framed)
	}
	f, err := envelope.ParseFrame(framed[envelope.HeaderSize:])
	if err != nil {
		t.Fatal(err)
	}
	reply, err := envelope.ParseAdminReply(f.Payload)
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(reply.Body), &body); err != nil {
		t.Fatalf("the body is %q: %v", reply.Body, err)
	}
	if reply.Kind != envelope.AdminJSON || reply.ContentType != "application/json" || reply.ExitCode != 0 || f.RequestID != 44 {
		t.Errorf("the reply is %+v to request %d", reply, f.RequestID)
	}
	if keys := v.Expect.JSONKeys; keys != nil {
		if len(keys) != len(body) {
			t.Errorf("the body has %d keys, want %q: %s", len(body), keys, reply.Body)
		}
		for _, key := range keys {
			if _, ok := body[key]; !ok {
				t.Errorf("the body has no %s: %s", key, reply.Body)
			}
		}
	}
	for _, wanted := range []map[string]any{v.Expect.JSONEquals, v.Expect.JSONPaths} {
		for keys, want := range wanted {
			if got := at(body, keys); !reflect.DeepEqual(got, want) {
				t.Errorf("%s is %v, want %v", keys, got, want)
			}
		}
	}
}

// at finds a.b.c in decoded JSON.
func at(value any, keys string) any {
	for key := range strings.SplitSeq(keys, ".") {
		m, ok := value.(map[string]any)
		if !ok {
			return fmt.Errorf("no %s", keys)
		}
		value = m[key]
	}
	return value
}

// status is the body of STATUS.
type adminStatus struct {
	BrokerPID   int  `json:"broker_pid"`
	Accepting   bool `json:"accepting_hello"`
	Connections int  `json:"connections_open"`
	Backends    []struct {
		Service string `json:"service_name"`
		Version string `json:"service_version"`
		PID     int    `json:"pid"`
		Pipe    string `json:"backend_pipe"`
		State   string `json:"state"`
	}
}

func (o *original) status(t *testing.T) (s adminStatus) {
	t.Helper()
	reply := o.administer(t, envelope.AdminRequest{Verb: envelope.VerbStatus, JSON: true})
	if err := json.Unmarshal([]byte(reply.Body), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRunningProcessStatus: what administration tells is true.
func TestRunningProcessStatus(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "zccache", "adopt")
	o.serve(t)
	negotiated := o.hello(t, "zccache", "1.11.20")
	_, pid := ping(t, negotiated.BackendPipe)
	s := o.status(t)
	if s.BrokerPID != o.broker.Process.Pid || !s.Accepting || len(s.Backends) != 1 {
		t.Fatalf("status is %+v", s)
	}
	if b := s.Backends[0]; b.Service != "zccache" || b.Version != "1.11.20" || b.PID != pid || b.Pipe != negotiated.BackendPipe || b.State != "running" {
		t.Errorf("the backend is %+v, want process %d at %s", b, pid, negotiated.BackendPipe)
	}
}

// TestRunningProcessMetrics: what the original only declares has samples.
func TestRunningProcessMetrics(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "zccache", "adopt")
	o.serve(t)
	o.hello(t, "zccache", "1.11.20")
	o.refused(t, "nobody", "1.11.20")
	reply := o.administer(t, envelope.AdminRequest{Verb: envelope.VerbMetrics})
	if reply.Kind != envelope.AdminOpenMetrics || !strings.HasSuffix(reply.Body, "# EOF\n") {
		t.Errorf("the reply is of kind %v:\n%s", reply.Kind, reply.Body)
	}
	for _, name := range []string{
		"hello_total{", "hello_duration_seconds_bucket{", "active_backends{service=\"zccache\"} 1", "spawn_attempts_total{", "spawn_budget_remaining{",
		"connections_open 1", "fd_usage_ratio ", "uptime_seconds ",
	} {
		if !strings.Contains(reply.Body, "\nrunning_process_broker_v1_"+name) {
			t.Errorf("there is no sample of %s:\n%s", name, reply.Body)
		}
	}
}

// TestRunningProcessShutdown: the verb ends the broker and what it launched. The original's backends go on, or it does itself.
func TestRunningProcessShutdown(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "zccache", "adopt")
	o.serve(t)
	_, pid := ping(t, o.hello(t, "zccache", "1.11.20").BackendPipe)
	v := findVector(t, "admin-shutdown")
	if got := exchange(t, o.socket(t), v.bytes(t), false); hex.EncodeToString(got) != v.Expect.ReplyHex {
		t.Errorf("the reply is\n%x, want\n%s", got, v.Expect.ReplyHex)
	}
	ended := make(chan error, 1)
	go func() { ended <- o.broker.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the broker ended with %v", err)
		}
	case <-time.After(originalPatience):
		t.Fatal("the broker does not end")
	}
	if isRunning(pid) {
		t.Errorf("the backend %d goes on", pid)
	}
}
