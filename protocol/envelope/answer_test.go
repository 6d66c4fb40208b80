// SPDX-License-Identifier: Apache-2.0

package envelope_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// setup is the broker that a vector is for.
type setup struct {
	kernelPID uint32
	demoted   bool
	second    bool // the Hello before this one has been granted

	handler      bool // services are in a table, not in a folder
	service      *envelope.ServiceDefinition
	pipe         string
	version      string // that the service is registered with
	capabilities uint64
	token        []byte // that the broker issues

	authority bool // session tokens are checked
	broker    [16]byte
	backend   *[16]byte
}

func (v *vector) setup(t *testing.T) setup {
	t.Helper()
	s := setup{demoted: strings.Contains(v.What, "demoted"), second: strings.Contains(v.What, "second Hello")}
	s.kernelPID = uint32(v.Setup.number(t, "kernel_pid"))
	if v.Setup.has("service_name") {
		d := &envelope.ServiceDefinition{
			ServiceName:      v.Setup.text(t, "service_name"),
			MinVersion:       v.Setup.text(t, "min_version"),
			VersionAllowList: texts(v.Setup.list(t, "version_allow_list")),
		}
		if want := v.Setup.text(t, "isolation"); want != "" {
			for ; d.Isolation.String() != want; d.Isolation++ {
				if d.Isolation.String() == "" {
					t.Fatalf("unknown isolation %v", want)
				}
			}
		}
		s.handler, s.service = true, d
		s.version = v.Setup.text(t, "daemon_version")
		s.pipe = v.Setup.text(t, "backend_pipe")
		s.capabilities = v.Setup.number(t, "server_capabilities")
	}
	if strings.Contains(v.What, "composite token") {
		s.handler, s.authority = true, true
		fillBytes(&s.broker, 0xaa)
		if !strings.HasSuffix(v.Name, "unknown") {
			s.backend = new([16]byte)
			fillBytes(s.backend, 0x11)
		}
	}
	return s
}

func fillBytes(a *[16]byte, b byte) {
	for i := range a {
		a[i] = b
	}
}

// answer is what the broker replies to a connection that sends b and then no
// more: the checks A1 to C5 of section 5, in their order. It returns false if
// the connection is closed without a reply.
func (s setup) answer(b []byte) (envelope.Frame, bool) {
	var none envelope.Frame
	n, err := envelope.Header(b)
	switch {
	case err != nil && b[0] != envelope.Version:
		return none.Refuse(envelope.RefusedFraming), true
	case err != nil:
		return none.Refuse(envelope.RefusedTooLong), true
	case envelope.Missing(b) != "":
		return none.Refuse(envelope.RefusedIncomplete), true
	}
	f, err := envelope.ParseFrame(b[envelope.HeaderSize : envelope.HeaderSize+n])
	switch {
	case err != nil:
		return none.Refuse(envelope.RefusedMalformedFrame), true
	case f.PayloadProtocol == envelope.Admin:
		return s.administer(f)
	case n > envelope.MaxHello:
		return f.Refuse(envelope.RefusedTooLong), true
	case s.demoted:
		return f.Refuse(envelope.RefusedFDPressure), true
	}
	h, refusal := envelope.ParseControl(f)
	if refusal == nil {
		refusal = s.refuse(h)
	}
	if refusal != nil {
		return f.Refuse(*refusal), true
	}
	connection := uint64(1)
	if s.second {
		connection = 2
	}
	reply := h.Accept(s.pipe, connection, s.token)
	reply.Negotiated.ServerCapabilities |= s.capabilities
	return f.Answer(reply), true
}

// refuse is B6 to B16 or, with a table, C1 to C5.
func (s setup) refuse(h envelope.Hello) *envelope.Refusal {
	if r := envelope.CheckHello(h, s.kernelPID); r != nil {
		return r
	}
	if !s.handler {
		return &envelope.RefusedUnknownService // the folder is empty
	}
	if s.authority {
		if r := envelope.CheckSessionToken(h.AuthToken, s.broker, s.backend); r != nil {
			return r
		}
	}
	if s.service == nil || h.ServiceName != s.service.ServiceName {
		return &envelope.RefusedUnregistered
	}
	return envelope.CheckPolicy(*s.service, h.WantedVersion)
}

// administer answers what does not depend on the broker's state; of the rest
// only the kind is right.
func (s setup) administer(f envelope.Frame) (envelope.Frame, bool) {
	r, ok := envelope.CheckAdmin(f)
	if !ok {
		return f, false
	}
	reply := r.ReplyKind().Reply("", 0)
	switch r.Verb {
	case envelope.VerbStatus:
		if !r.JSON {
			reply = envelope.AdminStatus("shared", !s.demoted)
		}
	case envelope.VerbHealthz:
		reply = envelope.AdminHealthy
	case envelope.VerbReadyz:
		if reply = envelope.AdminReady; s.demoted {
			reply = envelope.AdminNotReady
		}
	case envelope.VerbShutdown:
		reply = envelope.AdminShuttingDown
	case envelope.VerbDump, envelope.VerbListInstances, envelope.VerbBackendHealth, envelope.VerbConfig,
		envelope.VerbDiagnose, envelope.VerbMetrics:
	default:
		reply = envelope.AdminUnsupported
	}
	return f.Administer(reply), true
}

// request returns the bytes that the peer sends. Of one that is too long for a
// vector only the header is there: a usual Hello with a token of zeros.
func (v *vector) request(t *testing.T) []byte {
	t.Helper()
	b := v.bytes(t)
	if !v.Expect.has("body_len") {
		return b
	}
	want := int(v.Expect.number(t, "body_len"))
	f := envelope.Frame{
		EnvelopeVersion: envelope.Version, RequestID: 7,
		TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", TraceState: "vendor=value",
	}
	h := envelope.Hello{
		ClientMinProtocol: 1, ClientMaxProtocol: 1, ServiceName: "zccache", WantedVersion: "1.11.20",
		ClientVersion: "zccache-cli/1.11.20", RequestID: "req-1", ClientLibName: "running-process",
		ClientLibVersion: "4.0.3", ClientKeepaliveSecs: 60,
	}
	for size := 1; ; size++ {
		h.AuthToken = make([]byte, size)
		if size == 1 {
			size += want - len(frameOf(f, h).Append(nil)) - 8 // the lengths take up to 2 bytes more each
			continue
		}
		f = frameOf(f, h)
		full := f.AppendFramed(nil)
		if len(full)-envelope.HeaderSize == want {
			wantHex(t, "the header", full[:envelope.HeaderSize], v.Hex)
			if v.Expect.has("auth_token_len") && int(v.Expect.number(t, "auth_token_len")) != size {
				t.Errorf("the token has %d bytes", size)
			}
			return full
		}
		if len(full) > want+envelope.HeaderSize {
			t.Fatalf("no body of %d bytes", want)
		}
	}
}

func frameOf(f envelope.Frame, h envelope.Hello) envelope.Frame {
	f.Payload = h.Append(nil)
	return f
}

// vectorOutcome is what a broker does with a connection.
func vectorOutcome(t *testing.T, v *vector) {
	outcome := v.Expect.text(t, "outcome")
	if outcome == "probe reply" {
		vectorProbeRequest(t, v)
		return
	}
	s, b := v.setup(t), v.request(t)
	if sample := v.Expect.text(t, "reply_hex_sample"); sample != "" {
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
		if silent := v.Expect.number(t, "after_ms") != 0; silent && envelope.Missing(b) == "" || !silent && ok {
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
	if want := v.Expect.text(t, "reply_hex"); want != "" {
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
	if want := v.Expect.number(t, "code"); uint64(r.Code) != want {
		t.Errorf("the code is %v, not %d", r.Code, want)
	}
	if want := v.Expect.text(t, "code_name"); want != "" && r.Code.String() != want {
		t.Errorf("the code is %v, not %s", r.Code, want)
	}
	if want := v.Expect.text(t, "reason"); r.Reason != want {
		t.Errorf("the reason is %q, not %q", r.Reason, want)
	}
	if v.Expect.has("retry_after_ms") && r.RetryAfterMS != v.Expect.number(t, "retry_after_ms") {
		t.Errorf("retry after %d", r.RetryAfterMS)
	}
	if v.Expect.has("reply_request_id") && reply.RequestID != v.Expect.number(t, "reply_request_id") {
		t.Errorf("the reply has id %d", reply.RequestID)
	}
	if then := v.Expect.text(t, "then"); then != "" && then != "close" {
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
	fields := v.Expect.object(t, "fields")
	for key := range fields {
		got := map[string]uint64{
			"negotiated_protocol": uint64(n.NegotiatedProtocol), "keepalive_interval_secs": n.KeepaliveIntervalSecs,
			"connection_id": n.ConnectionID, "server_capabilities": n.ServerCapabilities,
			"handle_passed_token_len": uint64(len(n.HandlePassedToken)), "handle_passed_token": uint64(len(n.HandlePassedToken)),
		}
		texts := map[string]string{"daemon_version": n.DaemonVersion, "backend_pipe": n.BackendPipe}
		if want, ok := texts[key]; ok {
			if got := fields.text(t, key); got != want {
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
		if want := fields.number(t, key); x != want {
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
	if v.Expect.has("kind") && uint64(m.Kind) != v.Expect.number(t, "kind") {
		t.Errorf("the kind is %d", m.Kind)
	}
	if want := v.Expect.text(t, "content_type"); want != "" && m.ContentType != want {
		t.Errorf("the content type is %q, not %q", m.ContentType, want)
	}
	if v.Expect.has("exit_code") && uint64(m.ExitCode) != v.Expect.number(t, "exit_code") {
		t.Errorf("the exit code is %d", m.ExitCode)
	}
	if v.Expect.has("reply_request_id") && reply.RequestID != v.Expect.number(t, "reply_request_id") {
		t.Errorf("the reply has id %d", reply.RequestID)
	}
	if want := v.Expect.text(t, "body"); r.Verb == envelope.VerbMetrics {
		// The samples are the broker's: from the text on it is checked that the reply has these bytes.
		full := request.Administer(r.ReplyKind().Reply(want, 0))
		wantHex(t, "the reply", full.AppendFramed(nil), v.Expect.text(t, "reply_hex"))
		delete(v.Expect, "reply_hex")
	} else if want != "" && m.Body != want {
		t.Errorf("the body is %q, not %q", m.Body, want)
	}
	// What is in a JSON body is the broker's; here its kind is checked, and the command's name.
	if equal := v.Expect.object(t, "json_equals"); equal["command"] != nil && equal["command"] != r.Verb.String() {
		t.Errorf("the command is %v, not %v", r.Verb, equal["command"])
	}
	for _, key := range []string{"json_keys", "json_path_equals"} {
		if v.Expect.take(key) != nil && m.Kind != envelope.AdminJSON {
			t.Errorf("the kind is %d", m.Kind)
		}
	}
}
