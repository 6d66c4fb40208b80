// SPDX-License-Identifier: Apache-2.0

package envelope_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/vectortest"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// seed adds the bytes of all vectors, and the bodies and payloads in them.
func seed(f *testing.F) {
	for _, file := range vectortest.Files(f, "testdata") {
		for _, v := range readVectors(f, file) {
			b := v.bytes(f)
			f.Add(b)
			if n, err := envelope.Header(b); err != nil || n != len(b)-envelope.HeaderSize {
				continue
			}
			f.Add(b[envelope.HeaderSize:])
			if m, err := envelope.ParseFrame(b[envelope.HeaderSize:]); err == nil {
				f.Add(m.Payload)
			}
		}
	}
	for _, m := range everything {
		f.Add(m.Append(nil))
	}
}

// fuzz decodes, encodes and decodes again: what comes out is the same, and its
// encoding does not change any more.
func fuzz(f *testing.F, name string) {
	seed(f)
	p := parsers[name]
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := p(b)
		if err != nil {
			return
		}
		encoded := m.Append(nil)
		again, err := p(encoded)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v is decoded as %+v, %v", m, again, err)
		}
		if !bytes.Equal(again.Append(nil), encoded) {
			t.Fatalf("%+v has two encodings", m)
		}
	})
}

func FuzzFrame(f *testing.F)             { fuzz(f, "Frame") }
func FuzzHello(f *testing.F)             { fuzz(f, "Hello") }
func FuzzHelloReply(f *testing.F)        { fuzz(f, "HelloReply") }
func FuzzNegotiated(f *testing.F)        { fuzz(f, "Negotiated") }
func FuzzRefused(f *testing.F)           { fuzz(f, "Refused") }
func FuzzHandoffOffer(f *testing.F)      { fuzz(f, "HandoffOffer") }
func FuzzHandoffAck(f *testing.F)        { fuzz(f, "HandoffAck") }
func FuzzAdminRequest(f *testing.F)      { fuzz(f, "AdminRequest") }
func FuzzAdminReply(f *testing.F)        { fuzz(f, "AdminReply") }
func FuzzServiceDefinition(f *testing.F) { fuzz(f, "ServiceDefinition") }
func FuzzCacheManifest(f *testing.F)     { fuzz(f, "CacheManifest") }
func FuzzDaemonProcess(f *testing.F)     { fuzz(f, "DaemonProcess") }
func FuzzLifecycleEvent(f *testing.F)    { fuzz(f, "LifecycleEvent") }
func FuzzSessionFrame(f *testing.F)      { fuzz(f, "SessionFrame") }

// FuzzAnswer sends anything to a broker: it is answered with a frame that a
// client can read, or not at all.
func FuzzAnswer(f *testing.F) {
	seed(f)
	s := setup{handler: true, service: &envelope.ServiceDefinition{ServiceName: "zccache"}, pipe: "/run/x.sock"}
	f.Fuzz(func(t *testing.T, b []byte) {
		reply, ok := s.answer(b)
		if !ok {
			return
		}
		again, err := envelope.ParseFrame(reply.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		_, err = envelope.CheckReply(again)
		if again.PayloadProtocol == envelope.Admin {
			_, err = envelope.CheckAdminReply(again)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzManifest seals whatever can be read, and changes a byte.
func FuzzManifest(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := envelope.CheckManifest(b)
		var schema *envelope.SchemaError
		if err != nil && !errors.Is(err, envelope.ErrCorruption) || errors.As(err, &schema) {
			return
		}
		sealed := m.Seal().Append(nil)
		if _, err := envelope.CheckManifest(sealed); err != nil {
			t.Fatal(err)
		}
		// An unknown field, and what else changes nothing, may come in; the name may not change.
		m.ServiceName += "x"
		m.SelfSHA256 = m.Seal().SelfSHA256
		m.ServiceName += "y"
		if _, err := envelope.CheckManifest(m.Append(nil)); !errors.Is(err, envelope.ErrCorruption) {
			t.Fatal(err)
		}
	})
}
