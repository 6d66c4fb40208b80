// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/internal/admin"
	"github.com/switchboard-ipc/switchboard/internal/vectortest"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// vector is one of the protocol's vectors that begin with admin-.
type vector struct {
	Name, What, Hex string
	Expect          struct {
		Outcome     string
		Kind        *envelope.AdminKind
		Body        *string
		ExitCode    *uint32        `json:"exit_code"`
		ContentType *string        `json:"content_type"`
		RequestID   *uint64        `json:"reply_request_id"`
		ReplyHex    *string        `json:"reply_hex"`
		Keys        []string       `json:"json_keys"`
		Equals      map[string]any `json:"json_equals"`
		PathEquals  map[string]any `json:"json_path_equals"`
	}
}

// vectors reads those in the repository and in $SWITCHBOARD_VECTORS.
func vectors(t *testing.T) []vector {
	t.Helper()
	var all []vector
	for _, file := range vectortest.Files(t, "testdata") {
		var content struct{ Vectors []json.RawMessage }
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &content)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, raw := range content.Vectors {
			var head struct{ Name string }
			var v vector
			if json.Unmarshal(raw, &head) != nil || !strings.HasPrefix(head.Name, "admin-") {
				continue // of another format, or another subject
			}
			if err := json.Unmarshal(raw, &v); err != nil {
				t.Fatalf("%s: %s: %v", file, head.Name, err)
			}
			all = append(all, v)
		}
	}
	return all
}

var (
	saysInstance = regexp.MustCompile(`instance "([^"]+)"`)
	saysOpen     = regexp.MustCompile(`connections_open (\d+)`)
	saysUptime   = regexp.MustCompile(`uptime (\d+) s`)
)

// setUp is the broker that the vector's words speak of.
func (v vector) setUp() admin.Snapshot {
	s := admin.Snapshot{GeneratedUnixMS: now, Instance: "shared", PID: 41, Accepting: true, Ready: true}
	if strings.Contains(v.What, "demoted") {
		s.Ready, s.Demoted = false, true
	}
	if strings.Contains(v.What, "not accepting") {
		s.Accepting, s.Ready = false, false
	}
	if m := saysInstance.FindStringSubmatch(v.What); m != nil {
		s.Instance = m[1]
	}
	if m := saysOpen.FindStringSubmatch(v.What); m != nil {
		s.ConnectionsOpen, _ = strconv.ParseUint(m[1], 10, 64)
	}
	if m := saysUptime.FindStringSubmatch(v.What); m != nil {
		seconds, _ := strconv.Atoi(m[1])
		s.Uptime = time.Duration(seconds) * time.Second
	}
	return s
}

// TestVector answers each vector's request, and compares to the byte where the vector does.
func TestVector(t *testing.T) {
	t.Parallel()
	all := vectors(t)
	if len(all) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range all {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			v.check(t)
		})
	}
}

func (v vector) check(t *testing.T) {
	wire, err := hex.DecodeString(v.Hex)
	if err != nil {
		t.Fatal(err)
	}
	n, err := envelope.Header(wire)
	if err != nil || n != len(wire)-envelope.HeaderSize {
		t.Fatalf("header: %d, %v", n, err)
	}
	frame, err := envelope.ParseFrame(wire[envelope.HeaderSize:])
	if err != nil {
		t.Fatal(err)
	}
	req, ok := envelope.CheckAdmin(frame)
	if wanted := v.Expect.Outcome == "admin"; ok != wanted {
		t.Fatalf("is answered: %v, want %v", ok, wanted)
	}
	if !ok {
		return
	}
	reply := admin.Reply(req, v.setUp())
	answer := frame.Reply(envelope.Admin, reply.Append(nil))
	equal(t, "kind", v.Expect.Kind, reply.Kind)
	equal(t, "exit code", v.Expect.ExitCode, reply.ExitCode)
	equal(t, "content type", v.Expect.ContentType, reply.ContentType)
	equal(t, "request id", v.Expect.RequestID, answer.RequestID)
	v.checkJSON(t, reply.Body)
	if reply.Kind == envelope.AdminOpenMetrics {
		// The one deliberate difference: families of counters are not called _total, which OpenMetrics forbids.
		if v.Expect.Body != nil {
			allowed := strings.ReplaceAll(*v.Expect.Body, "_total counter\n", " counter\n")
			equal(t, "body", &allowed, reply.Body)
		}
		return
	}
	equal(t, "body", v.Expect.Body, reply.Body)
	equal(t, "reply", v.Expect.ReplyHex, hex.EncodeToString(answer.AppendFramed(nil)))
}

func (v vector) checkJSON(t *testing.T, body string) {
	if v.Expect.Keys == nil && v.Expect.Equals == nil && v.Expect.PathEquals == nil {
		return
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if v.Expect.Keys != nil {
		if d := cmp.Diff(slices.Sorted(slices.Values(v.Expect.Keys)), slices.Sorted(maps.Keys(got))); d != "" {
			t.Errorf("keys: -want +got\n%s", d)
		}
	}
	for key, want := range v.Expect.Equals {
		if d := cmp.Diff(want, got[key]); d != "" {
			t.Errorf("%s: -want +got\n%s", key, d)
		}
	}
	for path, want := range v.Expect.PathEquals {
		var at any = got
		for key := range strings.SplitSeq(path, ".") {
			inner, _ := at.(map[string]any)
			at = inner[key]
		}
		if d := cmp.Diff(want, at); d != "" {
			t.Errorf("%s: -want +got\n%s", path, d)
		}
	}
}

func equal[T comparable](t *testing.T, what string, want *T, got T) {
	t.Helper()
	if want != nil && *want != got {
		t.Errorf("%s: got %v, want %v", what, got, *want)
	}
}
