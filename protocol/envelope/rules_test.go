// SPDX-License-Identifier: Apache-2.0

package envelope_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

func TestReply(t *testing.T) {
	f := envelope.Frame{EnvelopeVersion: 9, Kind: 3, PayloadProtocol: 4, RequestID: 5, DeadlineUnixMS: 6, TraceParent: "a", TraceState: "b"}
	want := envelope.Frame{EnvelopeVersion: 1, Kind: envelope.Response, PayloadProtocol: 7, Payload: []byte("p"), RequestID: 5, TraceParent: "a", TraceState: "b"}
	if got := f.Reply(7, []byte("p")); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestHeaderAsksForMore(t *testing.T) {
	b := envelope.Frame{EnvelopeVersion: 1}.AppendFramed(nil)
	for n := range envelope.HeaderSize {
		if got, err := envelope.Header(b[:n]); got >= 0 || err != nil {
			t.Errorf("%d bytes: %d, %v", n, got, err)
		}
	}
	for _, c := range []struct {
		header string
		want   string
	}{
		{"\x02", "framing version is 2, not 1"},
		{"\x01\x01\x00\x00\x01", "frame is too long: 16777217 bytes, and at most 16777216 are allowed"},
	} {
		if _, err := envelope.Header([]byte(c.header)); err == nil || err.Error() != c.want {
			t.Errorf("%q: %v", c.header, err)
		}
	}
}

func TestCheckHello(t *testing.T) {
	good := envelope.Hello{
		ClientMinProtocol: 1, ClientMaxProtocol: 1, ServiceName: strings.Repeat("a", 64), WantedVersion: "1.0." + strings.Repeat("1", 60),
		ClientVersion: strings.Repeat("v", 128), ClientLibName: strings.Repeat("l", 64), ClientLibVersion: strings.Repeat("l", 64), PeerPID: 7,
	}
	for _, c := range []struct {
		name   string
		change func(h *envelope.Hello)
		pid    uint32
		want   *envelope.Refusal
	}{
		{"all at their limits", func(h *envelope.Hello) {}, 7, nil},
		{"unknown process", func(h *envelope.Hello) {}, 0, nil},
		{"silent about the process", func(h *envelope.Hello) { h.PeerPID = 0 }, 8, nil},
		{"a wide range", func(h *envelope.Hello) { h.ClientMinProtocol, h.ClientMaxProtocol = 0, math.MaxUint32 }, 7, nil},
		{"too new", func(h *envelope.Hello) { h.ClientMinProtocol = 2 }, 7, &envelope.RefusedProtocolRange},
		{"too old", func(h *envelope.Hello) { h.ClientMaxProtocol = 0 }, 7, &envelope.RefusedProtocolRange},
		{"long name", func(h *envelope.Hello) { h.ServiceName += "a" }, 7, &envelope.RefusedServiceName},
		{"long version", func(h *envelope.Hello) { h.WantedVersion += "1" }, 7, &envelope.RefusedWantedVersion},
		{"long client version", func(h *envelope.Hello) { h.ClientVersion += "v" }, 7, &envelope.RefusedClientVersion},
		{"long library name", func(h *envelope.Hello) { h.ClientLibName += "l" }, 7, &envelope.RefusedClientLib},
		{"long library version", func(h *envelope.Hello) { h.ClientLibVersion += "l" }, 7, &envelope.RefusedClientLib},
		{"another process", func(h *envelope.Hello) {}, 8, &envelope.RefusedPeerPID},
		{"the first fault wins", func(h *envelope.Hello) { h.ClientLibName += "l"; h.ServiceName = "" }, 8, &envelope.RefusedServiceName},
	} {
		h := good
		c.change(&h)
		if got := envelope.CheckHello(h, c.pid); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestSessionToken(t *testing.T) {
	broker, backend := [16]byte{1}, [16]byte{2}
	token := append(broker[:], backend[:]...)
	other := append(backend[:], backend[:]...)
	for _, c := range []struct {
		name    string
		token   []byte
		backend *[16]byte
		want    *envelope.Refusal
	}{
		{"right", token, &backend, nil},
		{"short", token[:31], &backend, &envelope.RefusedTokenLength},
		{"another broker's", other, nil, &envelope.RefusedTokenBroker},
		{"no backend", token, nil, &envelope.RefusedTokenUnknown},
		{"another backend's", token, &broker, &envelope.RefusedTokenDaemon},
	} {
		if got := envelope.CheckSessionToken(c.token, broker, c.backend); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestRefusals has those with a parameter, with the texts of section 5.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		got  envelope.Refusal
		want string
	}{
		{envelope.RefusedDefinition("x"), "ERROR_SERVICE_UNKNOWN 0 service definition could not be loaded: x"},
		{envelope.RefusedIsolation("x"), "ERROR_INTERNAL 0 service isolation could not be resolved: x"},
		{envelope.RefusedBudget(27), "ERROR_RATE_LIMITED 27 backend spawn budget exhausted"},
		{envelope.RefusedBudget(0), "ERROR_RATE_LIMITED 1 backend spawn budget exhausted"},
		{envelope.RefusedSpawn("x"), "ERROR_BACKEND_SPAWN_FAILED 1000 backend spawn failed: x"},
		{envelope.RefusedInstall("x"), "ERROR_INTERNAL 0 registered backend could not be installed: x"},
		{envelope.RefusedHelloRate(0), "ERROR_RATE_LIMITED 1 Hello rate limit exceeded"},
		{envelope.RefusedSpawning, "ERROR_RATE_LIMITED 1000 backend spawn already in progress"},
		{envelope.RefusedNoLauncher, "ERROR_BACKEND_SPAWN_FAILED 1000 backend is not registered"},
		{envelope.RefusedLaunched, "ERROR_INTERNAL 0 launched backend identity did not match request"},
		{envelope.Refusal{Code: 10}, "ERROR_10 0 "},
	} {
		m, err := envelope.CheckReply(envelope.Frame{}.Refuse(c.got))
		if err != nil {
			t.Fatal(err)
		}
		r := m.Refused
		if got := fmt.Sprintln(r.Code, r.RetryAfterMS, r.Reason); got != c.want+"\n" || r.DaemonMinProtocol != 1 || r.DaemonMaxProtocol != 1 {
			t.Errorf("%s, not %s", got, c.want)
		}
	}
}

func TestCheckReply(t *testing.T) {
	good := envelope.Frame{}.Answer(envelope.Hello{}.Accept("pipe", 1, nil))
	for want, change := range map[string]func(f *envelope.Frame){
		"<nil>":                                 func(f *envelope.Frame) {},
		"envelope_version is not v1":            func(f *envelope.Frame) { f.EnvelopeVersion = 0 },
		"kind is not RESPONSE":                  func(f *envelope.Frame) { f.Kind = envelope.Event },
		"payload_protocol is not control-plane": func(f *envelope.Frame) { f.PayloadProtocol = 1 },
		"payload is compressed":                 func(f *envelope.Frame) { f.PayloadEncoding = envelope.Zstd },
		"HelloReply has no result":              func(f *envelope.Frame) { f.Payload = nil },
		"Negotiated has no backend_pipe":        func(f *envelope.Frame) { f.Payload = []byte("\x0a\x00") },
		"cannot decode HelloReply: a tag has an impossible field number": func(f *envelope.Frame) { f.Payload = []byte("\x00\x00") },
	} {
		f := good
		change(&f)
		if _, err := envelope.CheckReply(f); fmt.Sprint(err) != want {
			t.Errorf("%v, not %s", err, want)
		}
	}
	admin := envelope.Frame{}.Administer(envelope.AdminHealthy)
	if m, err := envelope.CheckAdminReply(admin); err != nil || m != envelope.AdminHealthy {
		t.Error(m, err)
	}
	if _, err := envelope.CheckAdminReply(good); fmt.Sprint(err) != "payload_protocol is not admin" {
		t.Error(err)
	}
	admin.PayloadEncoding = envelope.LZ4
	if _, err := envelope.CheckAdminReply(admin); err != envelope.ErrCompressed {
		t.Error(err)
	}
}

func TestAdminVerbs(t *testing.T) {
	n := 0
	for v := range envelope.AdminVerb(30) {
		got, ok := envelope.ParseAdminVerb(v.String())
		if ok && got != v {
			t.Errorf("%v is parsed as %v", v, got)
		}
		if ok {
			n++
		} else if v.String() != fmt.Sprintf("verb-%d", v) {
			t.Errorf("%v cannot be parsed", v)
		}
	}
	if _, ok := envelope.ParseAdminVerb(""); ok || n != 10 {
		t.Errorf("%d verbs, and one without a name: %t", n, ok)
	}
	if envelope.AdminKind(3).ContentType() != "" {
		t.Error("an unknown kind has a content type")
	}
}

func TestNames(t *testing.T) {
	for s, want := range map[string]string{
		"":                           `invalid name "": service name must be at least 1 character`,
		strings.Repeat("a", 65):      `invalid name "` + strings.Repeat("a", 65) + `": service name must be at most 64 characters`,
		"a\"\\\n\r\t\x00\x7f\u0301é": `invalid name "a\"\\\n\r\t\0\u{7f}\u{301}é": service name must contain only [a-z0-9-]`,
		"ok-1":                       "<nil>",
	} {
		if err := envelope.CheckName(s); fmt.Sprint(err) != want {
			t.Errorf("%v, not %s", err, want)
		}
	}
	for s, want := range map[string]string{
		"v1.0.0":  "MAJOR/MINOR/PATCH must be non-empty digits",
		"1.0":     "version must be MAJOR.MINOR.PATCH",
		"1.0.0.0": "version must be MAJOR.MINOR.PATCH",
		"1.0.0-":  "prerelease must not be empty",
		"1.0.0-A": "prerelease must contain only [a-z0-9.]",
	} {
		if err := envelope.CheckVersion(s); fmt.Sprint(err) != `invalid name "`+s+`": `+want {
			t.Errorf("%v, not %s", err, want)
		}
	}
	for _, c := range []struct {
		version, floor string
		want           bool
	}{
		{"18446744073709551615.0.0", "18446744073709551614.9.9", true},
		{"1.0.0", "18446744073709551616.0.0", true},
		{"1.2.2", "1.2.3", false}, {"1.2.3", "1.2.3-rc", true}, {"2.0.0", "1.9.9", true}, {"1.3.0", "1.2.9", true},
		{"1.2", "1.3.0", true}, {"1.2.3.4", "9.0.0", true},
	} {
		if envelope.AtLeast(c.version, c.floor) != c.want {
			t.Errorf("%s at least %s: not %t", c.version, c.floor, c.want)
		}
	}
}

func TestAddresses(t *testing.T) {
	const hash = "9bfab56ad37b16cc"
	if got := envelope.Hash16(envelope.Identity(1000, "0123456789abcdef0123456789abcdef\n")); got != hash {
		t.Error(got)
	}
	var name *envelope.NameError
	var bad *envelope.HashError
	if _, err := envelope.PrivateName(hash, "No"); !errors.As(err, &name) {
		t.Error(err)
	}
	if _, err := envelope.ExplicitName(hash, ""); !errors.As(err, &name) {
		t.Error(err)
	}
	if _, err := envelope.SharedName("x"); !errors.As(err, &bad) || err.Error() != `"x" is not 16 lower-case hex digits` {
		t.Error(err)
	}
	backend, err := envelope.BackendName(hash, [16]byte{})
	if err != nil {
		t.Fatal(err)
	}
	for dir, fits := range map[string]bool{strings.Repeat("d", 19): true, strings.Repeat("d", 20): false, strings.Repeat("d", 18) + "/": true} {
		path, err := envelope.LinuxPath(dir, 0, backend)
		if (err == nil) != fits || strings.Contains(path, "//") {
			t.Errorf("%s: %s, %v", dir, path, err)
		}
	}
	for tmp, want := range map[string]string{
		"":                      "/tmp/.rp-0/ca2bb7f9ae4dff58.sock",
		"/t/":                   "/t/.rp-0/ca2bb7f9ae4dff58.sock",
		strings.Repeat("t", 76): "path too long (104 > 103)",
	} {
		got, err := envelope.MacPath(tmp, 0, "rpb-v1-deadbeefdeadbeef-shared")
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
	if _, err := envelope.WindowsPath(strings.Repeat("w", 252)); fmt.Sprint(err) != "path too long (261 > 260)" {
		t.Error(err)
	}
}

func TestDefinitionIsolation(t *testing.T) {
	d := envelope.ServiceDefinition{ServiceName: "a", BinaryPath: "/b", Isolation: envelope.ExplicitInstance, ExplicitInstance: "No"}
	var name *envelope.NameError
	if err := envelope.CheckDefinition("a", d); !errors.As(err, &name) || envelope.DefinitionRefusal(err) != envelope.RefusedServiceName {
		t.Error(err)
	}
	if envelope.Isolation(3).String() != "" || envelope.EventKind(21).String() != "" || envelope.EventManifestRewritten.String() != "MANIFEST_REWRITTEN" {
		t.Error("names of enums")
	}
}
