// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// message is what every payload can do.
type message interface{ Append(b []byte) []byte }

// decoder is one Parse function, under the name of its message.
type decoder struct {
	name  string
	parse func(b []byte) (message, error)
}

func decode[M message](parse func(b []byte) (M, error)) decoder {
	return decoder{reflect.TypeFor[M]().Name(), func(b []byte) (message, error) { return parse(b) }}
}

// decoders lists them all; TestSpecification compares the list with session.proto.
func decoders() []decoder {
	return []decoder{
		decode(session.ParseHello), decode(session.ParseHelloReply),
		decode(session.ParseLookUp), decode(session.ParseLookUpReply),
		decode(session.ParseEntry), decode(session.ParseCaller),
		decode(session.ParseClaim), decode(session.ParseClaimReply),
		decode(session.ParseRelease), decode(session.ParseReply),
		decode(session.ParseWatch), decode(session.ParseUnwatch),
		decode(session.ParseNamespace), decode(session.ParseNamespaceReply),
		decode(session.ParseDoor), decode(session.ParseDoorReply),
		decode(session.ParseFailure), decode(session.ParseStatusReply), decode(session.ParseTaken),
		decode(session.ParseHandOver), decode(session.ParseChange), decode(session.ParseChanged),
		decode(session.ParseEnded), decode(session.ParseBye),
		decode(session.ParseShutdown), decode(session.ParseDeclare), decode(session.ParseDeclareReply),
		decode(session.ParseSelect), decode(session.ParseBackendsReply), decode(session.ParseStarted),
		decode(session.ParseTrace), decode(session.ParseTraced),
	}
}

func decoderOf(t testing.TB, name string) decoder {
	for _, d := range decoders() {
		if d.name == name {
			return d
		}
	}
	t.Fatalf("no decoder for %s", name)
	return decoder{}
}

// samples are payloads to the byte.
var samples = []struct {
	message message
	bytes   string
}{
	{session.Hello{}, ""},
	{session.Hello{Session: [16]byte{0: 1, 15: 255}, Program: "up"},
		"\x0a\x10\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff" + "\x12\x02up"},
	{session.HelloReply{PID: 300, Version: "1.0", Namespace: "/", Sequence: 7, Resumed: true},
		"\x18\xac\x02" + "\x22\x031.0" + "\x32\x01/" + "\x38\x07" + "\x40\x01"},
	{session.LookUp{Name: "com.example.up", Kind: session.EntryService, Version: "^1.2"},
		"\x0a\x0ecom.example.up" + "\x10\x01" + "\x1a\x04^1.2"},
	{session.LookUpReply{Code: session.Unavailable, Text: "no"}, "\x08\x45" + "\x12\x02no"},
	{session.LookUpReply{Entry: session.Entry{
		Lease: 1, Name: "a", Namespace: "/", Kind: session.EntryService, State: session.StateActive, PID: 2, UID: 3, Exe: "/e",
		Version: "1", Scope: "/s", Path: "/p", Since: 1 << 40, Connections: 1, Callers: []session.Caller{{PID: 4, UID: 5}, {}}}},
		"\x1a\x30" + "\x08\x01" + "\x12\x01a" + "\x1a\x01/" + "\x20\x01" + "\x28\x01" + "\x30\x02" + "\x38\x03" + "\x42\x02/e" +
			"\x4a\x011" + "\x52\x02/s" + "\x5a\x02/p" + "\x60\x80\x80\x80\x80\x80\x20" + "\x68\x01" + "\x72\x04\x08\x04\x10\x05" + "\x72\x00"},
	{session.Claim{Name: "a", Kind: 1, Version: "1", Scope: "/", Accept: session.AcceptPath, Path: "/p"},
		"\x0a\x01a" + "\x10\x01" + "\x1a\x011" + "\x22\x01/" + "\x28\x02" + "\x32\x02/p"},
	{session.ClaimReply{Lease: 1<<64 - 1, Path: "/p"}, "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + "\x22\x02/p"},
	{session.Reply{Code: 1<<32 - 1}, "\x08\xff\xff\xff\xff\x0f"},
	{session.HandOver{Connection: 1, Lease: 2, Preamble: []byte("OK\n")}, "\x08\x01" + "\x10\x02" + "\x1a\x03OK\n"},
	{session.Change{Changed: []session.Changed{
		{Kind: session.ChangeGone, Entry: session.Entry{Name: "a"}, Reason: "killed"}, {Kind: session.ChangeAppeared}}},
		"\x0a\x0f" + "\x08\x03" + "\x12\x03\x12\x01a" + "\x1a\x06killed" + "\x0a\x02\x08\x01"},
	{session.Bye{Code: session.TryAgain, Reason: "shutdown"}, "\x08\x4b" + "\x12\x08shutdown"},
	{session.Hello{Instance: "ab"}, "\x1a\x02ab"},
	{session.LookUp{Name: "a", Scope: "/s"}, "\x0a\x01a" + "\x22\x02/s"},
	{session.Entry{Name: "a", State: session.StateStopping, Instance: "ab", Command: "/bin/up"}, "\x12\x01a" + "\x28\x04" + "\x7a\x02ab" + "\x82\x01\x07/bin/up"},
	{session.StatusReply{Services: []string{"/a", "", "/b"}, Backends: 1, Launches: 300},
		"\x82\x01\x02/a" + "\x82\x01\x00" + "\x82\x01\x02/b" + "\x88\x01\x01" + "\x90\x01\xac\x02"},
	{session.Shutdown{KeepBackends: true}, "\x08\x01"},
	{session.Declare{Name: "a", Version: "^1", Scope: "/s", Accept: "path", Exec: []string{"/e", ""}, Env: []string{"K=V"}, Dir: "/d", Notify: true},
		"\x0a\x01a" + "\x12\x02^1" + "\x1a\x02/s" + "\x22\x04path" + "\x2a\x02/e" + "\x2a\x00" + "\x32\x03K=V" + "\x3a\x02/d" + "\x40\x01"},
	{session.Declare{Accept: "mach", Ports: []string{"p", "q"}}, "\x22\x04mach" + "\x4a\x01p" + "\x4a\x01q"},
	{session.DeclareReply{Lease: 7, Version: "1.0.0"}, "\x18\x07" + "\x22\x051.0.0"},
	{session.Select{Name: "a", Version: "^1", Scope: "/s"}, "\x0a\x01a" + "\x12\x02^1" + "\x1a\x02/s"},
	{session.BackendsReply{Backends: []uint64{0, 1, 300}}, "\x1a\x04\x00\x01\xac\x02"},
	{session.Started{Lease: 1}, "\x08\x01"},
	{session.Namespace{Name: "a", Sealed: true, Only: []string{"b", "c"}}, "\x0a\x01a" + "\x10\x01" + "\x1a\x01b" + "\x1a\x01c"},
	{session.Trace{Pattern: "a.*"}, "\x0a\x03a.*"},
	{session.Traced{Time: 300, PID: 1, UID: 2, Program: "up", Namespace: "/", Protocol: "mach", ID: 404, Routine: "look_up (seed)", Name: "a",
		Code: 0xfffffed0, Outcome: "bad", Lost: 3},
		"\x08\xac\x02" + "\x10\x01" + "\x18\x02" + "\x22\x02up" + "\x2a\x01/" + "\x32\x04mach" + "\x38\x94\x03" + "\x42\x0elook_up (seed)" +
			"\x4a\x01a" + "\x50\xd0\xfd\xff\xff\x0f" + "\x5a\x03bad" + "\x60\x03"},
	{session.StatusReply{Ports: 2}, "\x98\x01\x02"},
}

func TestMessages(t *testing.T) {
	t.Parallel()
	for _, test := range samples {
		name := reflect.TypeOf(test.message).Name()
		if b := test.message.Append([]byte("x")); string(b) != "x"+test.bytes {
			t.Errorf("%+v:\n got % x\nwant % x", test.message, b[1:], test.bytes)
		}
		got, err := decoderOf(t, name).parse([]byte(test.bytes))
		if err != nil {
			t.Errorf("%s % x: %v", name, test.bytes, err)
		}
		if diff := cmp.Diff(test.message, got); diff != "" {
			t.Errorf("%s % x (-want +got):\n%s", name, test.bytes, diff)
		}
	}
}

func TestStrictness(t *testing.T) {
	t.Parallel()
	tests := []struct {
		message, bytes, want string
	}{
		{"LookUp", "\x08\x01", "field 1 has the wrong wire type"},
		{"LookUp", "\x12\x00", "field 2 has the wrong wire type"},
		{"LookUp", "\x0d\x00\x00\x00\x00", "field 1 has the wrong wire type"},
		{"LookUp", "\x0a\x01\xff", "field 1 is not UTF-8"},
		{"LookUp", "\x0a\x03\xed\xa0\x80", "field 1 is not UTF-8"}, // a surrogate
		{"LookUp", "\x0a\x01a\x00\x01", "a tag has an impossible field number"},
		{"LookUp", "\x80\x80\x80\x80\x10\x01", "a tag has an impossible field number"}, // 2^29
		{"LookUp", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "a tag has an impossible field number"},
		{"LookUp", "\x0a\x02a", "field 1 is truncated"},
		{"LookUp", "\x0a", "field 1 is truncated"},
		{"LookUp", "\x10\x80", "field 2 is truncated"},
		{"LookUp", "\x0a\x01a\x80", "a tag is truncated"},
		{"LookUp", "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "field 2 is malformed"},
		{"LookUp", "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "field 2 is out of range"}, // -1
		{"LookUp", "\x10\x80\x80\x80\x80\x08", "field 2 is out of range"},                     // 2^31
		{"LookUp", "\x28\x80", "field 5 is truncated"},                                        // also if unknown
		{"LookUp", "\x2e\x00", "field 5 is malformed"},                                        // wire type 6
		{"LookUp", "\x2b\x08\x01", "field 5 is truncated"},                                    // a group without its end
		{"LookUp", "\x2c", "field 5 is malformed"},                                            // the end of no group
		{"Reply", "\x08\x80\x80\x80\x80\x10", "field 1 is out of range"},                      // 2^32
		{"HelloReply", "\x40\x02", "field 8 is out of range"},
		{"Hello", "\x0a\x0f123456789012345", "field 1 is not 16 bytes long"},
		{"Hello", "\x0a\x11" + "12345678901234567", "field 1 is not 16 bytes long"},
		{"Hello", "\x0a\x00", "field 1 is not 16 bytes long"},
		{"LookUp", "\x20\x01", "field 4 has the wrong wire type"},
		{"Declare", "\x2a\x01a\x28\x01", "field 5 has the wrong wire type"},
		{"Declare", "\x2a\x01\xff", "field 5 is not UTF-8"},
		{"BackendsReply", "\x18\x01", "field 3 has the wrong wire type"}, // not packed
		{"BackendsReply", "\x1a\x02\x01\x80", "field 3 is truncated"},
		{"BackendsReply", "\x1a\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "field 3 is malformed"},
		{"HandOver", "\x18\x00", "field 3 has the wrong wire type"},
		{"LookUpReply", "\x18\x00", "field 3 has the wrong wire type"},
		{"LookUpReply", "\x1a\x02\x10\x01", "field 3, field 2 has the wrong wire type"},
		{"LookUpReply", "\x1a\x04\x72\x02\x08\x80", "field 3, field 14, field 1 is truncated"},
		{"LookUpReply", "\x1a\x01\x80", "field 3, a tag is truncated"},
		{"Change", "\x0a\x04\x12\x02\x12\xff", "field 1, field 2, field 2 is truncated"},
	}
	for _, test := range tests {
		want := "cannot decode " + test.message + ": " + test.want
		_, err := decoderOf(t, test.message).parse([]byte(test.bytes))
		if err == nil || err.Error() != want {
			t.Errorf("% x:\n got %v\nwant %s", test.bytes, err, want)
		}
		if test.message == "LookUp" {
			if _, err := session.ViewLookUp([]byte(test.bytes)); err == nil || err.Error() != want {
				t.Errorf("ViewLookUp % x:\n got %v\nwant %s", test.bytes, err, want)
			}
		}
	}
}

func TestLenience(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, bytes string
		want        message
	}{
		{"unknown fields of each type", "\x28\x01" + "\x29\x01\x02\x03\x04\x05\x06\x07\x08" + "\x0a\x01a" + "\x32\x01\xff" +
			"\x3d\x01\x02\x03\x04" + "\x43\x08\x01\x44" + "\xf8\xff\xff\xff\x0f\x01", session.LookUp{Name: "a"}},
		{"any order", "\x1a\x01v\x10\x01\x0a\x01a", session.LookUp{Name: "a", Kind: 1, Version: "v"}},
		{"the last one counts", "\x0a\x01a\x10\x03\x10\x00\x0a\x00\x0a\x01b", session.LookUp{Name: "b"}},
		{"unknown values of an enum", "\x10\xff\xff\xff\xff\x07", session.LookUp{Kind: 1<<31 - 1}},
		{"varints longer than they need to be", "\x90\x00\x81\x80\x00", session.LookUp{Kind: 1}},
		{"nested messages merge", "\x1a\x03\x12\x01a\x1a\x06\x08\x01\x72\x02\x08\x07\x1a\x02\x72\x00",
			session.LookUpReply{Entry: session.Entry{Lease: 1, Name: "a", Callers: []session.Caller{{PID: 7}, {}}}}},
		{"repeated texts and numbers collect", "\x1a\x01\x05\x1a\x00\x1a\x02\x06\x07", session.BackendsReply{Backends: []uint64{5, 6, 7}}},
		{"an empty nested message", "\x1a\x00", session.LookUpReply{}},
	}
	for _, test := range tests {
		got, err := decoderOf(t, reflect.TypeOf(test.want).Name()).parse([]byte(test.bytes))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestText: what is not UTF-8 reaches the other side as U+FFFD, also where the
// length gets longer by it.
func TestText(t *testing.T) {
	t.Parallel()
	long := make([]byte, 50)
	want := ""
	for i := range long {
		long[i] = 0x80
		want += "\ufffd"
	}
	for in, want := range map[string]string{"a\xffb": "a\ufffdb", string(long): want} {
		got, err := session.ParseReply(session.Reply{Text: in}.Append(nil))
		if err != nil || got.Text != want {
			t.Errorf("%q arrives as %q, %v", in, got.Text, err)
		}
	}
}

// TestNestedLengths crosses the sizes at which a length takes one byte more.
func TestNestedLengths(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 16370, 16380, 16381, 16382, 16383, 16384, 16385} {
		want := session.LookUpReply{Entry: session.Entry{Exe: string(make([]byte, size)), Connections: 1}}
		got, err := session.ParseLookUpReply(want.Append([]byte("x"))[1:])
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("size %d: %v\n%s", size, err, diff)
		}
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	payload := session.LookUp{Name: "com.example.up", Kind: session.EntryService, Version: "^1.2"}.Append(nil)
	entry := session.Entry{Lease: 1, Name: "com.example.up", Namespace: "/", Exe: "/usr/bin/some-long-path/up", Version: "1.2.3",
		Scope: "/opt/some/a/project", Path: "/run/user/1000/switchboard/s/com.example.up", Callers: make([]session.Caller, 2)}
	changed := []session.Changed{{Kind: 1, Entry: entry}}
	taken := session.Taken{Connection: 1}.Append(nil)
	buf := make([]byte, 0, 1024)
	for name, f := range map[string]func(){
		"ViewLookUp": func() {
			if _, err := session.ViewLookUp(payload); err != nil {
				t.Fatal(err)
			}
		},
		"LookUpReply.Append": func() { session.LookUpReply{Text: "x", Entry: entry}.Append(buf) },
		"HandOver.Append":    func() { session.HandOver{Connection: 1, Preamble: payload}.Append(buf) },
		"Change.Append":      func() { session.Change{Changed: changed}.Append(buf) },
		"HelloReply.Append":  func() { session.HelloReply{PID: 1, Broker: [16]byte{1}}.Append(buf) },
		"ParseTaken": func() {
			if _, err := session.ParseTaken(taken); err != nil {
				t.Fatal(err)
			}
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func TestLookUpViewAliases(t *testing.T) {
	t.Parallel()
	payload := session.LookUp{Name: "com.example.up", Kind: session.EntryPort, Version: "^1.2", Scope: "/s"}.Append(nil)
	v, err := session.ViewLookUp(payload)
	if err != nil || string(v.Name) != "com.example.up" || v.Kind != session.EntryPort || string(v.Version) != "^1.2" || string(v.Scope) != "/s" {
		t.Errorf("got %+v, %v", v, err)
	}
	if &v.Name[0] != &payload[2] {
		t.Error("the name does not alias the payload")
	}
}

func BenchmarkViewLookUp(b *testing.B) {
	payload := session.LookUp{Name: "com.example.up", Kind: session.EntryService}.Append(nil)
	for b.Loop() {
		if _, err := session.ViewLookUp(payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookUpReply(b *testing.B) {
	reply := session.LookUpReply{Entry: session.Entry{Lease: 1, Name: "com.example.up", Namespace: "/", Kind: 1, State: 1, PID: 1234, UID: 1000,
		Exe: "/usr/bin/up", Since: 1 << 40}}
	payload := reply.Append(nil)
	b.Run("append", func(b *testing.B) {
		for b.Loop() {
			payload = reply.Append(payload[:0])
		}
	})
	b.Run("parse", func(b *testing.B) {
		for b.Loop() {
			if _, err := session.ParseLookUpReply(payload); err != nil {
				b.Fatal(err)
			}
		}
	})
}
