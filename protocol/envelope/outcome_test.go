// SPDX-License-Identifier: Apache-2.0

package envelope_test

import (
	"encoding/json"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// vectorOutcome is what a broker does with a connection.
func vectorOutcome(t *testing.T, v *vector) {
	outcome := v.Expect.Text(t, "outcome")
	if outcome == "probe reply" {
		vectorProbeRequest(t, v)
		return
	}
	s, b := v.setup(t), v.request(t)
	if sample := v.Expect.Text(t, "reply_hex_sample"); sample != "" {
		reply, err := envelope.CheckReply(frame(t, unhex(t, sample)))
		if err != nil || reply.Negotiated == nil {
			t.Fatalf("the sample is %v, %v", reply, err)
		}
		s.token = reply.Negotiated.HandlePassedToken
		v.Expect["reply_hex"] = sample
	}
	reply, ok := s.answer(b)
	switch outcome {
	case "close without reply":
		// A peer that is silent is closed by the deadline of section 6, and has sent nothing to be answered.
		if silent := v.Expect.Uint(t, "after_ms") != 0; silent && envelope.Missing(b) == "" || !silent && ok {
			t.Errorf("it is answered: %v", reply)
		}
		return
	case "passes size check":
		if m, err := envelope.CheckReply(reply); err != nil || m.Refused != nil && m.Refused.Reason == envelope.RefusedTooLong.Reason {
			t.Errorf("the answer is %v, %v", m, err)
		}
		return
	}
	if !ok {
		t.Fatal("it is not answered")
	}
	switch outcome {
	case "admin":
		adminOutcome(t, v, frame(t, b), reply)
	case "negotiated":
		negotiatedOutcome(t, v, s, reply)
	case "refused", "refused unless such a service is installed":
		refusedOutcome(t, v, reply)
	default:
		t.Fatalf("unknown outcome %q", outcome)
	}
	if want := v.Expect.Text(t, "reply_hex"); want != "" {
		wantHex(t, "the reply", reply.AppendFramed(nil), want)
		if again := frame(t, unhex(t, want)); string(again.Append(nil)) != string(reply.Append(nil)) {
			t.Errorf("the reply is decoded as %v", again)
		}
	}
}

func refusedOutcome(t *testing.T, v *vector, reply envelope.Frame) {
	m, err := envelope.CheckReply(reply)
	if err != nil || m.Refused == nil {
		t.Fatalf("it is not refused: %v, %v", m, err)
	}
	r := m.Refused
	if want := v.Expect.Uint(t, "code"); uint64(r.Code) != want {
		t.Errorf("the code is %v, not %d", r.Code, want)
	}
	if want := v.Expect.Text(t, "code_name"); want != "" && r.Code.String() != want {
		t.Errorf("the code is %v, not %s", r.Code, want)
	}
	if want := v.Expect.Text(t, "reason"); r.Reason != want {
		t.Errorf("the reason is %q, not %q", r.Reason, want)
	}
	if v.Expect.Has("retry_after_ms") && r.RetryAfterMS != v.Expect.Uint(t, "retry_after_ms") {
		t.Errorf("retry after %d", r.RetryAfterMS)
	}
	if v.Expect.Has("reply_request_id") && reply.RequestID != v.Expect.Uint(t, "reply_request_id") {
		t.Errorf("the reply has id %d", reply.RequestID)
	}
	if then := v.Expect.Text(t, "then"); then != "" && then != "close" {
		t.Errorf("unknown sequel %q", then)
	}
}

func negotiatedOutcome(t *testing.T, v *vector, s setup, reply envelope.Frame) {
	// Without an address a reply has no meaning to a client.
	m, err := envelope.CheckReply(reply)
	if err != nil || m.Negotiated == nil {
		t.Fatalf("it is not granted: %v, %v", m, err)
	}
	n := m.Negotiated
	if s.version != "" && n.DaemonVersion != s.version {
		t.Errorf("the version is %q, not %q", n.DaemonVersion, s.version)
	}
	fields := v.Expect.Object(t, "fields")
	for key := range fields {
		got := map[string]uint64{
			"negotiated_protocol": uint64(n.NegotiatedProtocol), "keepalive_interval_secs": n.KeepaliveIntervalSecs,
			"connection_id": n.ConnectionID, "server_capabilities": n.ServerCapabilities,
			"handle_passed_token_len": uint64(len(n.HandlePassedToken)), "handle_passed_token": uint64(len(n.HandlePassedToken)),
		}
		texts := map[string]string{"daemon_version": n.DaemonVersion, "backend_pipe": n.BackendPipe}
		if want, ok := texts[key]; ok {
			if got := fields.Text(t, key); got != want {
				t.Errorf("%s is %q, not %q", key, want, got)
			}
			continue
		}
		x, known := got[key]
		if _, number := fields[key].(json.Number); !known || !number && fields[key] != "" {
			t.Fatalf("unknown field %s", key)
		}
		if fields[key] == "" {
			fields[key] = json.Number("0")
		}
		if want := fields.Uint(t, key); x != want {
			t.Errorf("%s is %d, not %d", key, x, want)
		}
	}
}

func adminOutcome(t *testing.T, v *vector, request, reply envelope.Frame) {
	m, err := envelope.CheckAdminReply(reply)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := envelope.CheckAdmin(request)
	if v.Expect.Has("kind") && uint64(m.Kind) != v.Expect.Uint(t, "kind") {
		t.Errorf("the kind is %d", m.Kind)
	}
	if want := v.Expect.Text(t, "content_type"); want != "" && m.ContentType != want {
		t.Errorf("the content type is %q, not %q", m.ContentType, want)
	}
	if v.Expect.Has("exit_code") && uint64(m.ExitCode) != v.Expect.Uint(t, "exit_code") {
		t.Errorf("the exit code is %d", m.ExitCode)
	}
	if v.Expect.Has("reply_request_id") && reply.RequestID != v.Expect.Uint(t, "reply_request_id") {
		t.Errorf("the reply has id %d", reply.RequestID)
	}
	if want := v.Expect.Text(t, "body"); r.Verb == envelope.VerbMetrics {
		// The samples are the broker's: from the text on it is checked that the reply has these bytes.
		full := request.Administer(r.ReplyKind().Reply(want, 0))
		wantHex(t, "the reply", full.AppendFramed(nil), v.Expect.Text(t, "reply_hex"))
		delete(v.Expect, "reply_hex")
	} else if want != "" && m.Body != want {
		t.Errorf("the body is %q, not %q", m.Body, want)
	}
	// What is in a JSON body is the broker's; here its kind is checked, and the command's name.
	if equal := v.Expect.Object(t, "json_equals"); equal["command"] != nil && equal["command"] != r.Verb.String() {
		t.Errorf("the command is %v, not %v", r.Verb, equal["command"])
	}
	for _, key := range []string{"json_keys", "json_path_equals"} {
		if v.Expect.Take(key) != nil && m.Kind != envelope.AdminJSON {
			t.Errorf("the kind is %d", m.Kind)
		}
	}
}
