// SPDX-License-Identifier: Apache-2.0

package envelope_test

import (
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
	s.kernelPID = uint32(v.Setup.Uint(t, "kernel_pid"))
	if v.Setup.Has("service_name") {
		d := &envelope.ServiceDefinition{
			ServiceName:      v.Setup.Text(t, "service_name"),
			MinVersion:       v.Setup.Text(t, "min_version"),
			VersionAllowList: texts(v.Setup.List(t, "version_allow_list")),
		}
		if want := v.Setup.Text(t, "isolation"); want != "" {
			for ; d.Isolation.String() != want; d.Isolation++ {
				if d.Isolation.String() == "" {
					t.Fatalf("unknown isolation %v", want)
				}
			}
		}
		s.handler, s.service = true, d
		s.version = v.Setup.Text(t, "daemon_version")
		s.pipe = v.Setup.Text(t, "backend_pipe")
		s.capabilities = v.Setup.Uint(t, "server_capabilities")
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
	if !v.Expect.Has("body_len") {
		return b
	}
	want := int(v.Expect.Uint(t, "body_len"))
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
			if v.Expect.Has("auth_token_len") && int(v.Expect.Uint(t, "auth_token_len")) != size {
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
