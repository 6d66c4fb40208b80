// SPDX-License-Identifier: Apache-2.0

package envelope_test

import (
	"bytes"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// TestStrict has what decoders must refuse, and what they must let pass.
func TestStrict(t *testing.T) {
	group := func(depth int, inner string) string {
		return strings.Repeat("\xab\x06", depth) + inner + strings.Repeat("\xac\x06", depth) // field 101
	}
	for _, c := range []struct {
		name, message, bytes, fault string
	}{
		{"nothing", "Hello", "", ""},
		{"varint as bytes", "Hello", "\x0a\x01\x01", "field 1 has the wrong wire type"},
		{"text as varint", "Hello", "\x18\x01", "field 3 has the wrong wire type"},
		{"text as fixed64", "Hello", "\x1912345678", "field 3 has the wrong wire type"},
		{"text as fixed32", "Hello", "\x1d1234", "field 3 has the wrong wire type"},
		{"text as group", "Hello", "\x1b\x1c", "field 3 has the wrong wire type"},
		{"bytes as varint", "Hello", "\x38\x01", "field 7 has the wrong wire type"},
		{"message as varint", "HelloReply", "\x08\x01", "field 1 has the wrong wire type"},
		{"repeated text as varint", "Negotiated", "\x20\x01", "field 4 has the wrong wire type"},
		{"repeated message as varint", "CacheManifest", "\x50\x01", "field 10 has the wrong wire type"},
		{"map as varint", "Refused", "\x28\x01", "field 5 has the wrong wire type"},
		{"bool as bytes", "HandoffAck", "\x12\x00", "field 2 has the wrong wire type"},
		{"optional as bytes", "DaemonProcess", "\x3a\x00", "field 7 has the wrong wire type"},
		{"view as varint", "Frame", "\x20\x00", "field 4 has the wrong wire type"},
		{"chunk as varint", "SessionFrame", "\x08\x00", "field 1 has the wrong wire type"},
		{"nested", "HelloReply", "\x0a\x02\x0a\x00", "field 1 has the wrong wire type"},
		{"in a map", "Refused", "\x2a\x02\x08\x00", "field 1 has the wrong wire type"},
		{"not UTF-8", "Hello", "\x1a\x01\xff", "field 3 is not UTF-8"},
		{"surrogate", "Hello", "\x1a\x03\xed\xa0\x80", "field 3 is not UTF-8"},
		{"not UTF-8 in a list", "Negotiated", "\x22\x01\xff", "field 4 is not UTF-8"},
		{"not UTF-8 in a map", "Refused", "\x2a\x03\x0a\x01\xff", "field 1 is not UTF-8"},
		{"not UTF-8, but bytes", "Hello", "\x3a\x01\xff", ""},
		{"field 0", "Hello", "\x00\x01", "a tag has an impossible field number"},
		{"field 2^29", "Hello", "\x80\x80\x80\x80\x10\x01", "a tag has an impossible field number"},
		{"the last field", "Hello", "\xf8\xff\xff\xff\x0f\x01", ""},
		{"wire type 6", "Hello", "\xae\x06", "field 101 is malformed"},
		{"tag cut off", "Hello", "\x80", "a tag is truncated"},
		{"varint cut off", "Hello", "\x08\x80", "field 1 is truncated"},
		{"varint of 11 bytes", "Hello", "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "field 1 is malformed"},
		{"text cut off", "Hello", "\x1a\x02a", "field 3 is truncated"},
		{"message cut off", "HelloReply", "\x0a\x02\x1a", "field 1 is truncated"},
		{"fixed64 cut off", "Hello", "\xa9\x06\x00", "field 101 is truncated"},
		{"unknown fixed64", "Hello", "\xa9\x0612345678", ""},
		{"unknown fixed32", "Hello", "\xad\x061234", ""},
		{"unknown bytes", "Hello", "\xaa\x06\x01\xff", ""},
		{"unknown group", "Hello", group(1, "\x08\x01\x1a\x01a\x09\x00\x00\x00\x00\x00\x00\x00\x00"), ""},
		{"group without end", "Hello", "\xab\x06\x08\x01", "field 101 is truncated"},
		{"group with another end", "Hello", "\xab\x06\x0c", "field 101 is malformed"},
		{"end without group", "Hello", "\xac\x06", "field 101 is malformed"},
		{"field 0 in a group", "Hello", group(1, "\x00\x01"), "field 101 is malformed"},
		{"100 groups", "Hello", group(100, ""), ""},
		{"100 groups with a field", "Hello", group(100, "\x08\x01"), "field 101 is nested too deeply"},
		{"101 groups", "Hello", group(101, ""), "field 101 is nested too deeply"},
	} {
		_, err := parsers[c.message]([]byte(c.bytes))
		switch {
		case c.fault == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.fault != "" && (err == nil || !strings.HasSuffix(err.Error(), c.message+": "+c.fault)):
			t.Errorf("%s: %v, not %s", c.name, err, c.fault)
		}
	}
}

// TestLenient has what a decoder makes of what is given more than once or is too wide.
func TestLenient(t *testing.T) {
	for _, c := range []struct {
		name, message, bytes string
		want                 message
	}{
		{"the last scalar wins", "Hello", "\x08\x01\x1a\x01a\x08\x02\x1a\x01b", envelope.Hello{ClientMinProtocol: 2, ServiceName: "b"}},
		{"zero wins too", "Hello", "\x08\x01\x08\x00", envelope.Hello{}},
		{"cut to 32 bits", "Hello", "\x08\x81\x80\x80\x80\x10", envelope.Hello{ClientMinProtocol: 1}},
		{"a long form of 1", "Hello", "\x08\x81\x80\x00", envelope.Hello{ClientMinProtocol: 1}},
		{"any bool", "HandoffAck", "\x10\x05", envelope.HandoffAck{Accepted: true}},
		{"a wide bool", "HandoffAck", "\x10\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", envelope.HandoffAck{Accepted: true}},
		{"a negative enum", "Frame", "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", envelope.Frame{Kind: 0xffffffff}},
		{
			"messages are merged", "HelloReply", "\x0a\x02\x08\x01\x0a\x03\x12\x01v",
			envelope.HelloReply{Negotiated: &envelope.Negotiated{NegotiatedProtocol: 1, DaemonVersion: "v"}},
		},
		{
			"the last of a oneof wins", "HelloReply", "\x0a\x02\x08\x01\x12\x02\x10\x01",
			envelope.HelloReply{Refused: &envelope.Refused{DaemonMinProtocol: 1}},
		},
		{
			"and drops what was there", "HelloReply", "\x12\x02\x10\x01\x0a\x00",
			envelope.HelloReply{Negotiated: &envelope.Negotiated{}},
		},
		{
			"the last of a key wins", "Refused", "\x2a\x06\x0a\x01k\x12\x01a\x2a\x06\x0a\x01k\x12\x01b\x2a\x00",
			envelope.Refused{Details: map[string]string{"k": "b", "": ""}},
		},
		{
			"a oneof of chunks", "SessionFrame", "\x0a\x01a\x1a\x00\x22\x01b",
			envelope.SessionFrame{Kind: envelope.SessionStderr, Data: []byte("b")},
		},
		{
			"merged with itself only", "SessionFrame", "\x2a\x02\x08\x01\x2a\x02\x10\x02",
			envelope.SessionFrame{Kind: envelope.SessionExited, Exit: &envelope.SessionExit{Code: 1, Signal: 2}},
		},
		{"the end of input", "SessionFrame", "\x10\x01", envelope.SessionFrame{Kind: envelope.SessionStdinEOF, EOF: true}},
		{"nothing known", "SessionFrame", "\x38\x01", envelope.SessionFrame{}},
		{"an optional zero", "DaemonProcess", "\x38\x00", envelope.DaemonProcess{IdleTimeoutSecs: new(uint32)}},
	} {
		got, err := parsers[c.message]([]byte(c.bytes))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		again, err := parsers[c.message](got.Append(nil))
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s, again: %+v, %v", c.name, again, err)
		}
	}
}

// everything has a value in every field.
var everything = []message{
	envelope.Hello{
		ClientMinProtocol: 1, ClientMaxProtocol: 2, ServiceName: "a", WantedVersion: "b", ClientVersion: "c", ClientCapabilities: 3,
		AuthToken: []byte("d"), RequestID: "e", ConnectionID: 4, PeerPID: 5, ClientLibName: "f", ClientLibVersion: "g",
		PeerAttestationNonce: []byte("h"), CapabilityToken: []byte("i"), ClientKeepaliveSecs: 6,
	},
	envelope.AdminRequest{Verb: envelope.VerbStatus, JSON: true, ServiceName: "a", OutputPath: "b", DrainDeadlineMS: 1},
	envelope.AdminReply{Kind: envelope.AdminJSON, Body: "a", ExitCode: 1, ContentType: "b"},
	envelope.ServiceDefinition{
		ServiceName: "a", BinaryPath: "b", Isolation: 2, ExplicitInstance: "c", PerVersionBinaryDir: "d", MinVersion: "e",
		VersionAllowList: []string{"f", ""}, Labels: map[string]string{"z": "1", "a": "2", "": ""},
		HTTPServer: &envelope.HTTPServer{BindAddr: "g", HealthPath: "h", DisplayName: "i"},
	},
	manifest,
	envelope.LifecycleEvent{
		TSMS: 1, PID: 2, ServiceName: "a", Kind: envelope.EventManifestRewritten, Reason: "b", Extra: map[string]string{"c": "d"},
		SeverityNumber: 3, SeverityText: "e", RequestID: "f", ConnectionID: 4, BrokerInstance: "g",
	},
	envelope.SessionFrame{Kind: envelope.SessionStdin, Data: []byte("a")},
	envelope.SessionFrame{Kind: envelope.SessionStdinEOF},
	envelope.SessionFrame{Kind: envelope.SessionExited, Exit: &envelope.SessionExit{Code: -1, Signal: 9, Metadata: map[string]string{"a": "b"}}},
	envelope.SessionFrame{Kind: envelope.SessionStarted, Start: &envelope.SessionStart{
		Program: "a", Args: []string{"b", ""}, Cwd: "c", Env: []envelope.SessionVariable{{Key: "d", Value: "e"}, {}},
		ClearInheritedEnv: true, EnvironmentPolicy: 3,
	}},
}

var manifest = envelope.CacheManifest{
	ServiceName: "a", ServiceVersion: "b", BrokerEnvelopeVersion: "v1", CreatedAtUnixMS: 1, LastActiveUnixMS: 2,
	Roots: []envelope.CacheRoot{{
		Path: strings.Repeat("p", 200), Kind: envelope.RootSecrets, EstimatedSizeBytes: 3, Disposition: envelope.PruneOnCrash,
		Labels: map[string]string{"b": "1", "a": "2", "c": "3"}, Quota: &envelope.Quota{HardMax: 4, SoftTarget: 5, Reserved: 6},
		TeardownHook: &envelope.TeardownHook{Kind: envelope.HookCustomCommand, Argv: []string{"x", "y"}, TimeoutSecs: 7},
		ExcludeGlobs: []string{"*"}, PlatformPaths: map[string]string{"linux": "/x"},
		Ownership: &envelope.Ownership{UID: 8, GID: 9, Mode: 0o700, WindowsSID: "s"},
		Endpoint:  &envelope.Endpoint{NamespaceID: "shared", Path: "/y"},
	}, {}},
	CurrentDaemon: &envelope.DaemonProcess{
		PID: 1, ExePath: "c", IPCEndpoint: &envelope.Endpoint{}, StartedAtUnixMS: 2, BootID: "d", IdleTimeoutSecs: new(uint32),
		ExeHashAlgorithm: envelope.HashAlgorithm, ExeHash: make([]byte, 32),
	},
	CleanupPolicy:  &envelope.CleanupPolicy{DormantAfterSecs: 1, KeepLastNVersions: 2, KeepCurrent: true, MinSizeForPruneBytes: 3},
	BrokerInstance: "e", DependsOn: []envelope.ManifestRef{{ServiceName: "f", MinVersion: "1.0.0", Optional: true}},
	Provides:      []string{"g"},
	Observability: &envelope.ObservabilityInfo{MetricsEndpoint: "h", LogPath: "i", HealthCheckEndpoint: "j"},
	BundleID:      "k", ManifestSchemaVersion: 1, MediaType: envelope.ManifestMediaType, SelfSHA256: []byte("l"),
	Host:             &envelope.HostIdentity{Hostname: "m", MachineID: "n", BootID: "o", FSDevID: 4, NamespaceID: "p"},
	CurrentOperation: &envelope.Operation{Kind: envelope.OperationArchiving, StartedAtUnixMS: 5, ExpectedDoneUnixMS: 6},
	ValidUntilUnixMS: 7,
}

// TestEverything writes and reads every field, and cuts the bytes off anywhere.
func TestEverything(t *testing.T) {
	for _, m := range everything {
		name := reflect.TypeOf(m).Name()
		b := m.Append([]byte("before"))[6:]
		got, err := parsers[name](b)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		ascending(t, name, b)
		for n := range b {
			if got, err := parsers[name](b[:n]); err == nil && reflect.DeepEqual(got, m) {
				t.Errorf("%s: %d of %d bytes are enough", name, n, len(b))
			}
		}
		if !bytes.Equal(got.Append(nil), b) {
			t.Errorf("%s: two encodings", name)
		}
	}
}

// ascending fails unless the fields of b are in the order of their numbers.
func ascending(t *testing.T, name string, b []byte) {
	t.Helper()
	var last protowire.Number
	for len(b) > 0 {
		num, _, n := protowire.ConsumeField(b)
		if n < 0 || num < last {
			t.Fatalf("%s: field %d after %d", name, num, last)
		}
		last, b = num, b[n:]
	}
}

// TestText replaces what is not UTF-8, so that the message can be read.
func TestText(t *testing.T) {
	m, err := envelope.ParseNegotiated(envelope.Negotiated{DaemonVersion: "a\xffb", Warnings: []string{"\xff", ""}}.Append(nil))
	if err != nil || m.DaemonVersion != "a\uFFFDb" || !reflect.DeepEqual(m.Warnings, []string{"\uFFFD", ""}) {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestNothingShared changes the input after it was parsed.
func TestNothingShared(t *testing.T) {
	for _, m := range everything {
		b := m.Append(nil)
		got, _ := parsers[reflect.TypeOf(m).Name()](b)
		clear(b)
		if !reflect.DeepEqual(got, m) {
			t.Errorf("%T has changed: %+v", m, got)
		}
	}
}

// TestAllocation gives every decoder the smallest items there are.
func TestAllocation(t *testing.T) {
	const size = 60_000
	for name, p := range parsers {
		worst := 0.0
		for num := 1; num <= 110; num++ {
			tag := protowire.AppendTag(nil, protowire.Number(num), protowire.BytesType)
			item := append(tag, 0)
			b := bytes.Repeat(item, size/len(item))
			worst = max(worst, allocated(func() { _, _ = p(b) })/float64(len(b)))
			if num > 11 {
				continue
			}
			for _, outer := range []protowire.Number{1, 2, 5, 6, 10, 20, 60, 103, 104} { // what is inside a message
				b := protowire.AppendBytes(protowire.AppendTag(nil, outer, protowire.BytesType), b)
				worst = max(worst, allocated(func() { _, _ = p(b) })/float64(len(b)))
			}
		}
		limit := 100.0               // of items without a byte, with what growing lists leave behind
		if name == "CacheManifest" { // see ParseCacheManifest
			limit = 300
		}
		if worst > limit {
			t.Errorf("%s allocates %.0f times its input", name, worst)
		}
	}
}

func allocated(f func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc - before.TotalAlloc)
}
