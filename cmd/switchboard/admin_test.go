// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// fakeBroker answers every connection to a socket: with what answer makes of the request, or with a close for nil.
func fakeBroker(t *testing.T, path string, answer func(envelope.Frame) []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := address{"unix", path}.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serveFake(c, answer)
		}
	}()
}

func serveFake(c net.Conn, answer func(envelope.Frame) []byte) {
	defer c.Close()
	header := make([]byte, envelope.HeaderSize)
	if _, err := io.ReadFull(c, header); err != nil {
		return
	}
	n, err := envelope.Header(header)
	if err != nil {
		return
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c, body); err != nil {
		return
	}
	if f, err := envelope.ParseFrame(body); err == nil {
		_, _ = c.Write(answer(f))
	}
}

// frameOf reads the frame of a vector.
func frameOf(t *testing.T, text string) envelope.Frame {
	t.Helper()
	wire, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	f, err := envelope.ParseFrame(wire[envelope.HeaderSize:])
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// runAdmin is the command line `admin args`, with the runtime folder dir.
func runAdmin(t *testing.T, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, talk bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), scriptTimeout)
	defer cancel()
	code = run(ctx, append([]string{"--runtime-dir", dir, "admin"}, args...), strings.NewReader(""), &out, &talk)
	return out.String(), talk.String(), code
}

// TestAdmin: the request is the vector's, and what the vector's reply says is printed and is the exit code.
func TestAdmin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		vector         string
		args           []string
		request, reply string // frames, in hex
		stdout         string
		code           int
	}{
		{"admin-healthz", []string{"healthz"}, "010c00000008011881da0222020804282c",
			"011d000000080110011881da02221112036f6b0a220a746578742f706c61696e282c", "ok\n", 0},
		{"admin-readyz-ready", []string{"readyz"}, "010c00000008011881da0222020805282c",
			"0120000000080110011881da022214120672656164790a220a746578742f706c61696e282c", "ready\n", 0},
		{"admin-readyz-not-ready", []string{"readyz"}, "010c00000008011881da0222020805282c",
			"0126000000080110011881da02221a120a6e6f742072656164790a1801220a746578742f706c61696e282c", "not ready\n", 1},
		{"admin-status-text", []string{"status"}, "010c00000008011881da0222020801282c",
			"0148000000080110011881da02223c122e62726f6b65725f696e7374616e63653a207368617265640a616363657074696e675f68656c6c6f3a20747275650a220a746578742f706c61696e282c",
			"broker_instance: shared\naccepting_hello: true\n", 0},
		{"admin-backend-health", []string{"backend-health", "--json", "--service", "zccache"},
			"011700000008011881da02220d080610011a077a636361636865282c",
			hex.EncodeToString(envelope.Frame{EnvelopeVersion: 1, PayloadProtocol: envelope.Admin, RequestID: 44}.Administer(
				envelope.AdminJSON.Reply(`{"backends":[]}`, 0)).AppendFramed(nil)), "{\"backends\":[]}\n", 0},
		{"unsupported by the broker", []string{"dump", "--json"}, "010e00000008011881da02220408021001282c",
			"0133000000080110011881da0222271217756e737570706f727465642061646d696e20766572620a1802220a746578742f706c61696e282c",
			"unsupported admin verb\n", 2},
	} {
		t.Run(c.vector, func(t *testing.T) {
			t.Parallel()
			want, reply := frameOf(t, c.request), frameOf(t, c.reply)
			answer := func(f envelope.Frame) []byte {
				want.RequestID, reply.RequestID = f.RequestID, f.RequestID // a client's own choice
				if !bytes.Equal(f.Append(nil), want.Append(nil)) {
					return nil
				}
				return reply.AppendFramed(nil)
			}
			dir := t.TempDir()
			fakeBroker(t, filepath.Join(dir, frameSocket), answer)
			stdout, stderr, code := runAdmin(t, dir, c.args...)
			if stdout != c.stdout || stderr != "" || code != c.code {
				t.Errorf("printed %q, said %q, exit code %d", stdout, stderr, code)
			}
		})
	}
}

// TestAdminSocket: any socket, at the end of a path that no socket address holds.
func TestAdminSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), strings.Repeat("long/", 30), "rpb-v1-9bfab56ad37b16cc-shared.sock")
	fakeBroker(t, path, func(f envelope.Frame) []byte { return f.Administer(envelope.AdminShuttingDown).AppendFramed(nil) })
	if stdout, stderr, code := runAdmin(t, t.TempDir(), "shutdown", "--socket", path); stdout != "broker shutting down\n" || code != 0 {
		t.Errorf("printed %q, said %q, exit code %d", stdout, stderr, code)
	}
}

// TestAdminAnswers: what is no answer to the request is not taken for one.
func TestAdminAnswers(t *testing.T) {
	t.Parallel()
	reply := func(f envelope.Frame) envelope.Frame { return f.Administer(envelope.AdminHealthy) }
	framed := func(change func(*envelope.Frame)) func(envelope.Frame) []byte {
		return func(f envelope.Frame) []byte {
			f = reply(f)
			change(&f)
			return f.AppendFramed(nil)
		}
	}
	for said, answer := range map[string]func(envelope.Frame) []byte{
		"without an answer":             func(envelope.Frame) []byte { return nil },
		"within its answer":             func(f envelope.Frame) []byte { b := reply(f).AppendFramed(nil); return b[:len(b)-1] },
		"closed the connection within":  func(envelope.Frame) []byte { return []byte{1, 4, 0} },
		"is no frame":                   func(envelope.Frame) []byte { return []byte("ERR 64 no DIAL line\n") },
		"envelope_version is not v1":    framed(func(f *envelope.Frame) { f.EnvelopeVersion = 2 }),
		"kind is not RESPONSE":          framed(func(f *envelope.Frame) { f.Kind = envelope.Event }),
		"payload_protocol is not admin": framed(func(f *envelope.Frame) { f.PayloadProtocol = envelope.Handoff }),
		"payload is compressed":         framed(func(f *envelope.Frame) { f.PayloadEncoding = envelope.Zstd }),
		"request_id is another":         framed(func(f *envelope.Frame) { f.RequestID++ }),
		"AdminReply":                    framed(func(f *envelope.Frame) { f.Payload = []byte{0xff} }),
		"refused: Hello frame payload_protocol must be control-plane": func(f envelope.Frame) []byte {
			return f.Answer(envelope.HelloReply{Refused: &envelope.Refused{
				Reason: "Hello frame payload_protocol must be control-plane"}}).AppendFramed(nil)
		},
	} {
		t.Run(said, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			fakeBroker(t, filepath.Join(dir, frameSocket), answer)
			stdout, stderr, code := runAdmin(t, dir, "healthz")
			if stdout != "" || !strings.Contains(stderr, said) || code != exitUnavailable {
				t.Errorf("printed %q, said %q, exit code %d", stdout, stderr, code)
			}
		})
	}
}

// TestAdminLongBody: a body of megabytes comes whole, and a large exit code does not become 0.
func TestAdminLongBody(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("x", 8<<20) + "\n"
	dir := t.TempDir()
	fakeBroker(t, filepath.Join(dir, frameSocket), func(f envelope.Frame) []byte {
		return f.Administer(envelope.AdminText.Reply(body, 256)).AppendFramed(nil)
	})
	if stdout, stderr, code := runAdmin(t, dir, "metrics"); stdout != body || code != 255 {
		t.Errorf("printed %d bytes, said %q, exit code %d", len(stdout), stderr, code)
	}
}

// TestAdminInterrupted: a broker that never answers is left when the context ends.
func TestAdminInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	done := make(chan struct{})
	fakeBroker(t, filepath.Join(dir, frameSocket), func(envelope.Frame) []byte { <-done; return nil })
	defer close(done)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var out, talk bytes.Buffer
	if code := run(ctx, []string{"--runtime-dir", dir, "admin", "healthz"}, nil, &out, &talk); code == 0 || out.Len() > 0 {
		t.Errorf("printed %q, said %q, exit code %d", out.String(), talk.String(), code)
	}
}
