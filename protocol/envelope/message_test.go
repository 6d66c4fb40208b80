// SPDX-License-Identifier: Apache-2.0

package envelope_test

import (
	"encoding/hex"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/vectortest"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// message is what all messages have in common.
type message interface{ Append(b []byte) []byte }

// parser makes one signature of all Parse functions; the first result is the
// message as a value.
func parser[M message](parse func([]byte) (M, error)) func([]byte) (message, error) {
	return func(b []byte) (message, error) { m, err := parse(b); return m, err }
}

var parsers = map[string]func([]byte) (message, error){
	"Frame":             parser(envelope.ParseFrame),
	"Hello":             parser(envelope.ParseHello),
	"HelloReply":        parser(envelope.ParseHelloReply),
	"Negotiated":        parser(envelope.ParseNegotiated),
	"Refused":           parser(envelope.ParseRefused),
	"HandoffOffer":      parser(envelope.ParseHandoffOffer),
	"HandoffAck":        parser(envelope.ParseHandoffAck),
	"AdminRequest":      parser(envelope.ParseAdminRequest),
	"AdminReply":        parser(envelope.ParseAdminReply),
	"ServiceDefinition": parser(envelope.ParseServiceDefinition),
	"CacheManifest":     parser(envelope.ParseCacheManifest),
	"DaemonProcess":     parser(envelope.ParseDaemonProcess),
	"LifecycleEvent":    parser(envelope.ParseLifecycleEvent),
	"SessionFrame":      parser(envelope.ParseSessionFrame),
}

func parse(t *testing.T, name string, b []byte) message {
	t.Helper()
	p, ok := parsers[name]
	if !ok {
		t.Fatalf("unknown message %q", name)
	}
	m, err := p(b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// body returns the body of one framed message.
func body(t *testing.T, b []byte) []byte {
	t.Helper()
	n, err := envelope.Header(b)
	if err != nil || n != len(b)-envelope.HeaderSize {
		t.Fatalf("header says %d, %v", n, err)
	}
	return b[envelope.HeaderSize:]
}

func frame(t *testing.T, b []byte) envelope.Frame {
	t.Helper()
	return parse(t, "Frame", body(t, b)).(envelope.Frame)
}

func wantHex(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if hex.EncodeToString(got) != want {
		t.Errorf("%s is\n %x, not\n %s", what, got, want)
	}
}

// vectorMessage is a message with the values of its fields; or, framed, with
// some of them beside the message's name.
func vectorMessage(t *testing.T, v *vector) {
	name := v.Expect.Text(t, "message")
	if !v.Expect.Has("fields") {
		framedMessage(t, v, name)
		return
	}
	if decode := v.Expect.Take("decode"); decode != nil && decode != "ok" {
		t.Fatalf("unknown expectation of decoding: %v", decode)
	}
	m := reflect.ValueOf(parse(t, name, v.bytes(t)))
	built := reflect.New(m.Type()).Elem()
	fields := v.fields(t)
	for key, x := range fields {
		if key == "result" { // of a oneof: the name of the field that is set
			continue
		}
		f, ok := field(m, key)
		if !ok {
			t.Fatalf("%s has no field %s", name, key)
		}
		want, _ := field(built, key)
		fill(t, v, key, want, x)
		if !reflect.DeepEqual(f.Interface(), want.Interface()) {
			t.Errorf("%s is %v, not %v", key, f, want)
		}
	}
	if v.Expect.Take("encode_exact") == true {
		wantHex(t, "the encoding of the fields", built.Interface().(message).Append(nil), v.Hex)
		wantHex(t, "the encoding of what was decoded", m.Interface().(message).Append(nil), v.Hex)
	}
}

// fields returns expect.fields, which may be those of another vector.
func (v *vector) fields(t *testing.T) values {
	t.Helper()
	switch x := v.Expect.Take("fields").(type) {
	case map[string]any:
		return x
	case string:
		return v.sameAs(t, x)
	}
	t.Fatal("fields are neither values nor a reference")
	return nil
}

// sameAs returns what goldens says of the vector that a text names: "same
// values as NAME".
func (v *vector) sameAs(t *testing.T, text string) values {
	t.Helper()
	name, ok := strings.CutPrefix(text, "same values as ")
	if !ok {
		t.Fatalf("not a reference: %q", text)
	}
	for _, other := range readVectors(t, "testdata/running-process-vectors.json") {
		if other.Name == name {
			return other.fields(t)
		}
	}
	t.Fatalf("reference to nothing: %q", text)
	return nil
}

func plain(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }

// field returns the field of a message that has a name of the protocol's.
func field(m reflect.Value, name string) (reflect.Value, bool) {
	for i := range m.NumField() {
		if plain(m.Type().Field(i).Name) == plain(name) {
			return m.Field(i), true
		}
	}
	return reflect.Value{}, false
}

var enumNames = map[reflect.Type][]string{
	reflect.TypeFor[envelope.Kind]():      {"REQUEST", "RESPONSE", "EVENT", "CANCEL"},
	reflect.TypeFor[envelope.Encoding]():  {"NONE", "ZSTD", "SNAPPY", "LZ4"},
	reflect.TypeFor[envelope.AdminKind](): {"TEXT", "JSON", "OPENMETRICS"},
	reflect.TypeFor[envelope.Isolation](): {"PRIVATE_BROKER", "SHARED_BROKER", "EXPLICIT_INSTANCE"},
}

// fill sets a field of a message to a value of a vector's.
func fill(t *testing.T, v *vector, key string, f reflect.Value, x any) {
	t.Helper()
	if s, ok := x.(string); ok && f.Kind() == reflect.Pointer {
		x = map[string]any(v.sameAs(t, s))
	}
	switch x := x.(type) {
	case bool:
		f.SetBool(x)
	case json.Number:
		setNumber(t, f, vectortest.Uint(t, x))
	case string:
		switch {
		case f.Kind() == reflect.String:
			f.SetString(x)
		case f.Kind() == reflect.Slice:
			if x != "" {
				f.SetBytes(unhex(t, x))
			}
		case strings.HasPrefix(x, "0x"):
			setNumber(t, f, vectortest.Uint(t, x))
		default:
			i := slices.Index(enumNames[f.Type()], x)
			if i < 0 {
				t.Fatalf("unknown value of %s: %q", key, x)
			}
			f.SetUint(uint64(i))
		}
	case []any:
		for _, item := range x {
			e := reflect.New(f.Type().Elem()).Elem()
			fill(t, v, key, e, item)
			f.Set(reflect.Append(f, e))
		}
	case map[string]any:
		fillObject(t, v, key, f, x)
	default:
		t.Fatalf("unknown value of %s: %v", key, x)
	}
}

func fillObject(t *testing.T, v *vector, key string, f reflect.Value, x map[string]any) {
	t.Helper()
	if f.Kind() == reflect.Map {
		for k, s := range x {
			if f.IsNil() {
				f.Set(reflect.MakeMap(f.Type()))
			}
			f.SetMapIndex(reflect.ValueOf(k), reflect.ValueOf(s))
		}
		return
	}
	if f.Kind() == reflect.Pointer {
		f.Set(reflect.New(f.Type().Elem()))
		f = f.Elem()
	}
	for k, item := range x {
		inner, ok := field(f, k)
		if !ok {
			t.Fatalf("%s has no field %s", key, k)
		}
		fill(t, v, k, inner, item)
	}
}

func setNumber(t *testing.T, f reflect.Value, n uint64) {
	t.Helper()
	switch {
	case f.Kind() == reflect.Pointer:
		f.Set(reflect.New(f.Type().Elem()))
		f.Elem().SetUint(n)
	case f.CanInt():
		f.SetInt(int64(n))
	default:
		f.SetUint(n)
	}
}

// framedMessage is a message in a frame.
func framedMessage(t *testing.T, v *vector, name string) {
	f := frame(t, v.bytes(t))
	if name == "SessionFrame" {
		m := parse(t, name, f.Payload).(envelope.SessionFrame)
		want := v.Expect.Text(t, "kind")
		kinds := []string{"", "stdin", "stdin_eof", "stdout", "stderr", "exit", "start"}
		if int(m.Kind) >= len(kinds) || kinds[m.Kind] != want || f.PayloadProtocol != envelope.Stdio {
			t.Errorf("it is %v of %#x", m, f.PayloadProtocol)
		}
		f.Payload = m.Append(nil)
		wantHex(t, "the encoding", f.AppendFramed(nil), v.Hex)
		return
	}
	m := reflect.ValueOf(parse(t, name, f.Payload))
	for key, x := range v.Expect {
		if key == "note" {
			continue
		}
		got, ok := field(m, key)
		if !ok {
			continue // runVector will say so
		}
		want := reflect.New(got.Type()).Elem()
		fill(t, v, key, want, x)
		if !reflect.DeepEqual(got.Interface(), want.Interface()) {
			t.Errorf("%s is %v, not %v", key, got, want)
		}
		v.Expect.Take(key)
	}
	if offer, ok := m.Interface().(envelope.HandoffOffer); ok {
		if _, err := envelope.CheckOffer(f); err != nil {
			t.Error(err)
		}
		// Ours writes field 1 always, so an offer without it comes out longer by two bytes.
		if b := offer.Frame().AppendFramed(nil); len(b) == len(v.Hex)/2 {
			wantHex(t, "the encoding", b, v.Hex)
		} else if again, err := envelope.CheckOffer(frame(t, b)); err != nil || !reflect.DeepEqual(again, offer) {
			t.Errorf("the encoding is decoded as %v, %v", again, err)
		}
	}
}
