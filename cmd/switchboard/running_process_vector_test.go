// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// vector is one of the protocol's. What its format means is told in its file.
type vector struct {
	Name   string
	Hex    string
	Setup  *vectorSetup
	Expect struct {
		Outcome    string
		ReplyHex   string         `json:"reply_hex"`
		JSONKeys   []string       `json:"json_keys"`
		JSONEquals map[string]any `json:"json_equals"`
		JSONPaths  map[string]any `json:"json_path_equals"`
		Kind       *uint32
		BodyLen    int     `json:"body_len"`
		TokenLen   int     `json:"auth_token_len"`
		ExitCode   *uint32 `json:"exit_code"`
		Fields     map[string]any
		Load       string
		Refusal    *struct {
			Code   uint32
			Reason string
		} `json:"hello_refusal"`
	}
}

type vectorSetup struct {
	ServiceName      string   `json:"service_name"`
	MinVersion       string   `json:"min_version"`
	VersionAllowList []string `json:"version_allow_list"`
	KernelPID        int      `json:"kernel_pid"`
}

var readVectors = sync.OnceValues(func() (all []vector, err error) {
	text, err := os.ReadFile("../../protocol/envelope/testdata/running-process-vectors.json")
	if err != nil {
		return nil, err
	}
	var file struct{ Vectors []json.RawMessage }
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	for _, raw := range file.Vectors {
		var v vector
		if err := json.Unmarshal(raw, &v); err == nil || strings.HasPrefix(v.Name, "hello-") || strings.HasPrefix(v.Name, "admin-") {
			all = append(all, v) // others have expectations of other shapes
		}
	}
	return all, nil
})

func vectors(t *testing.T) []vector {
	t.Helper()
	all, err := readVectors()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func findVector(t *testing.T, name string) vector {
	t.Helper()
	for _, v := range vectors(t) {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("no vector %s", name)
	return vector{}
}

// bytes is what the vector sends; of a large one only the header is listed, and the rest is made.
func (v vector) bytes(t *testing.T) []byte {
	t.Helper()
	data, err := hex.DecodeString(v.Hex)
	if err != nil {
		t.Fatal(err)
	}
	if v.Expect.BodyLen == 0 || len(data) > envelope.HeaderSize {
		return data
	}
	token := v.Expect.TokenLen
	if token == 0 {
		token = 70000 // as the vector says in words
	}
	like, err := hex.DecodeString(findVector(t, "hello-unknown-field").Hex)
	if err != nil {
		t.Fatal(err)
	}
	f, err := envelope.ParseFrame(like[envelope.HeaderSize:])
	if err != nil {
		t.Fatal(err)
	}
	h, err := envelope.ParseHello(f.Payload)
	if err != nil {
		t.Fatal(err)
	}
	h.AuthToken = make([]byte, token)
	f.Payload = h.Append(nil)
	return f.AppendFramed(nil)
}

// exchange sends bytes, and returns all that comes until the other side closes.
func exchange(t *testing.T, socket string, data []byte, half bool) []byte {
	t.Helper()
	c, err := dialUnix(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(data); err != nil && !half {
		t.Errorf("cannot send: %v", err)
	}
	if half {
		if err := c.(*net.UnixConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	got, err := io.ReadAll(c)
	if err != nil && ignoreHangup(err) != nil {
		t.Errorf("no end of the reply: %v", err)
	}
	return got
}

// inMemory are vectors of a Hello that cannot be asked of a broker as it runs here, with the reason.
var inMemory = map[string]string{
	"hello-ok-second-default-keepalive": "its backend's pipe is fixed",
	"hello-ok-handle-passing":           "the token is a sample",
	"hello-unknown-service-handler":     "only a table of services in memory has this refusal",
	"hello-peer-pid-kernel-unknown":     "the kernel knows",
	"hello-fd-pressure":                 "see TestRunningProcessFewDescriptors",
	"hello-token-length":                "session tokens are not configured, neither by the original",
	"hello-token-unknown":               "session tokens are not configured",
	"hello-token-daemon":                "session tokens are not configured",
}

// TestRunningProcessVectorHello sends every vector of a Hello to a broker and compares the replies byte by byte.
func TestRunningProcessVectorHello(t *testing.T) {
	t.Parallel()
	skipped := make(map[string]bool)
	plain, defined := newOriginal(t), newOriginal(t)
	defined.define(t, "zccache", "adopt", func(d *envelope.ServiceDefinition) {
		d.MinVersion, d.VersionAllowList = "1.10.0", []string{"1.11.20"}
	})
	plain.serve(t)
	defined.serve(t)
	sent := 0
	for _, v := range vectors(t) {
		prefix, _, _ := strings.Cut(v.Name, "-")
		if inMemory[v.Name] != "" {
			skipped[v.Name] = true
			continue
		}
		if prefix != "hello" && (v.Expect.Outcome != "refused" || v.Expect.ReplyHex == "") {
			continue
		}
		sent++
		t.Run(v.Name, func(t *testing.T) {
			o := plain
			if v.Setup != nil && v.Setup.ServiceName != "" {
				o = defined
				if v.Setup.ServiceName != "zccache" || v.Setup.MinVersion != "1.10.0" || !slices.Equal(v.Setup.VersionAllowList, []string{"1.11.20"}) {
					t.Fatalf("a new setup: %+v", *v.Setup)
				}
			}
			got := exchange(t, o.socket(t), v.bytes(t), strings.HasPrefix(v.Name, "truncated-"))
			switch v.Expect.Outcome {
			case "refused":
				if hex.EncodeToString(got) != v.Expect.ReplyHex {
					t.Errorf("the reply is\n%x, want\n%s", got, v.Expect.ReplyHex)
				}
			case "negotiated":
				if reply := replyIn(t, got); reply.Negotiated == nil {
					t.Error(outcome(reply, nil))
				}
			case "passes size check":
				if reply := replyIn(t, got); reply.Refused == nil || reply.Refused.Code != envelope.CodeServiceUnknown {
					t.Error(outcome(reply, nil))
				}
			default:
				t.Errorf("a new kind of expectation: %q", v.Expect.Outcome)
			}
		})
	}
	if sent < 40 {
		t.Errorf("only %d vectors were sent", sent)
	}
	for name := range inMemory {
		if !skipped[name] {
			t.Errorf("no vector %s", name)
		}
	}
}

func replyIn(t *testing.T, framed []byte) envelope.HelloReply {
	t.Helper()
	if len(framed) < envelope.HeaderSize {
		t.Fatalf("the reply is %x", framed)
	}
	f, err := envelope.ParseFrame(framed[envelope.HeaderSize:])
	if err != nil {
		t.Fatal(err)
	}
	reply, err := envelope.ParseHelloReply(f.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}
