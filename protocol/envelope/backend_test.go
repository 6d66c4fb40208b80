// SPDX-License-Identifier: Apache-2.0

package envelope_test

import (
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// The nonce, token and offer that the vectors are about.
var (
	probeNonce   [32]byte
	offeredToken [16]byte
	offer        envelope.HandoffOffer
)

func init() {
	for i := range probeNonce {
		probeNonce[i] = byte(i)
	}
	for i := range offeredToken {
		offeredToken[i] = byte(16 + i)
	}
	offer = envelope.HandoffOffer{Token: offeredToken[:], ServiceName: "zccache", CorrelationID: 1}
}

// wantError fails unless err has the text that the vector's key has.
func wantError(t *testing.T, v *vector, err error, key string) {
	t.Helper()
	want := v.Expect.Text(t, key)
	if err == nil || err.Error() != want {
		t.Errorf("the error is %v, not %q", err, want)
	}
}

func vectorProbeRequest(t *testing.T, v *vector) {
	f := frame(t, v.bytes(t))
	if id := v.Expect.Uint(t, "request_id"); f.RequestID != id || binary.LittleEndian.Uint64(f.Payload) != id {
		t.Errorf("the id is %d, not %d", f.RequestID, id)
	}
	wantHex(t, "the request", envelope.ProbeRequest([32]byte(f.Payload)).AppendFramed(nil), v.Hex)
	reply, err := envelope.ProbeReply(f, envelope.DaemonProcess{PID: 1}, [32]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Concat(f.Payload, []byte{8, 1, 0x1a, 0x20, 7}, make([]byte, 31))
	if v.Expect.Take("reply_payload") != "nonce || DaemonProcess || 1a20 || sha256" || !slices.Equal(reply.Payload, want) {
		t.Errorf("the reply's payload is %x", reply.Payload)
	}
}

func vectorProbeServe(t *testing.T, v *vector) {
	if v.Expect.Text(t, "serve") != "error" {
		t.Fatal("unknown outcome of serving a probe")
	}
	_, err := envelope.ProbeReply(frame(t, v.bytes(t)), envelope.DaemonProcess{}, [32]byte{})
	wantError(t, v, err, "detail")
}

// identity returns what expect.identity of the probe that is right says.
func identity(t *testing.T) (d envelope.DaemonProcess, sha256 []byte) {
	t.Helper()
	for _, v := range readVectors(t, "testdata/running-process-vectors.json") {
		if v.Name != "probe-response-ok" {
			continue
		}
		id := v.Expect.Object(t, "identity")
		idle := uint32(id.Uint(t, "idle_timeout_secs"))
		d = envelope.DaemonProcess{
			PID: uint32(id.Uint(t, "pid")), ExePath: id.Text(t, "exe_path"), StartedAtUnixMS: id.Uint(t, "started_at_unix_ms"),
			BootID: id.Text(t, "boot_id"), IdleTimeoutSecs: &idle, ExeHashAlgorithm: envelope.HashAlgorithm,
			ExeHash: unhex(t, id.Text(t, "exe_hash")),
		}
		endpoint := id.Object(t, "endpoint")
		d.IPCEndpoint = &envelope.Endpoint{NamespaceID: endpoint.Text(t, "namespace_id"), Path: endpoint.Text(t, "path")}
		return d, unhex(t, id.Text(t, "legacy_sha256"))
	}
	t.Fatal("no probe-response-ok")
	return d, nil
}

func vectorProbeReply(t *testing.T, v *vector) {
	want, sha256 := identity(t)
	reply := frame(t, v.bytes(t))
	err := envelope.CheckProbeReply(reply, probeNonce, want)
	switch verify := v.Expect.Text(t, "verify"); {
	case verify == "ok":
		if err != nil {
			t.Error(err)
		}
		if v.Expect.Take("identity") != nil {
			ours, err := envelope.ProbeReply(envelope.ProbeRequest(probeNonce), want, [32]byte(sha256))
			if err != nil {
				t.Fatal(err)
			}
			wantHex(t, "the reply", ours.AppendFramed(nil), v.Hex)
			if got, err := envelope.ParseProbeReply(reply, probeNonce); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("the identity is %v, %v", got, err)
			}
		}
	case verify != "error":
		t.Fatalf("unknown outcome %q", verify)
	case v.Expect.Has("mismatch_field"):
		var mismatch *envelope.MismatchError
		field := v.Expect.Text(t, "mismatch_field")
		if !errors.As(err, &mismatch) || strings.TrimPrefix(mismatch.Field, "ipc_") != strings.TrimPrefix(field, "ipc_") {
			t.Errorf("the error is %v, not about %s", err, field)
		}
	default:
		wantError(t, v, err, "detail")
	}
}

func vectorMux(t *testing.T, v *vector) {
	mux := v.Expect.Text(t, "mux")
	if mux == "legacy" { // another protocol's bytes
		var framing *envelope.FramingError
		if _, err := envelope.Header(v.bytes(t)); !errors.As(err, &framing) {
			t.Errorf("Header returns %v", err)
		}
		return
	}
	f := frame(t, v.bytes(t))
	switch mux {
	case "probe":
		if err := envelope.CheckServed(f.PayloadProtocol); err != nil || f.PayloadProtocol != envelope.Probe {
			t.Error(f.PayloadProtocol, err)
		}
	case "payload":
		served := uint32(v.Expect.Uint(t, "payload_protocol"))
		if err := envelope.CheckServed(f.PayloadProtocol, 0x7000, served); err != nil {
			t.Error(err)
		}
	case "error":
		wantError(t, v, envelope.CheckServed(f.PayloadProtocol, 0xF415), "detail")
	default:
		t.Fatalf("unknown outcome %q", mux)
	}
}

func vectorAck(t *testing.T, v *vector) {
	f := frame(t, v.bytes(t))
	ack, err := envelope.CheckAck(f, offer)
	switch outcome := v.Expect.Text(t, "ack"); outcome {
	case "ok":
		if err != nil || !ack.Accepted {
			t.Errorf("the ack is %v, %v", ack, err)
		}
		wantHex(t, "the encoding", offer.Ack(nil).Frame(envelope.Response).AppendFramed(nil), v.Hex)
	case "rejected":
		var rejected *envelope.RejectedError
		if !errors.As(err, &rejected) || rejected.Detail != v.Expect["error_detail"] {
			t.Errorf("the error is %v", err)
		}
		rejection(t, v, ack)
	case "error":
		wantError(t, v, err, "detail")
	default: // a rejection with another fault
		if err == nil || !strings.Contains(err.Error(), outcome) {
			t.Errorf("the error is %v, not %s", err, outcome)
		}
		rejection(t, v, ack)
	}
}

// rejection checks that a backend of ours would have written the same.
func rejection(t *testing.T, v *vector, ack envelope.HandoffAck) {
	detail := v.Expect.Text(t, "error_detail")
	if ack.ErrorDetail != detail {
		t.Errorf("the detail is %q, not %q", ack.ErrorDetail, detail)
	}
	got := envelope.HandoffOffer{Token: ack.Token, CorrelationID: ack.CorrelationID}
	for _, err := range []error{
		got.CheckToken(offeredToken), envelope.ErrTokenMismatch, envelope.ErrTokenExpired, envelope.ErrTokenNotPending,
	} {
		if err != nil && err.Error() == detail {
			wantHex(t, "the encoding", got.Ack(err).Frame(envelope.Response).AppendFramed(nil), v.Hex)
			return
		}
	}
	t.Errorf("nothing of ours says %q", detail)
}

func vectorReady(t *testing.T, v *vector) {
	f := frame(t, v.bytes(t))
	err := envelope.CheckReady(f, offeredToken[:])
	switch client := v.Expect.Text(t, "client"); {
	case client == "adopt":
		if err != nil {
			t.Error(err)
		}
		wantHex(t, "the encoding", offer.Ack(nil).Frame(envelope.Event).AppendFramed(nil), v.Hex)
	case !strings.HasPrefix(client, "reconnect"):
		t.Fatalf("unknown outcome %q", client)
	case err == nil:
		t.Error("the client adopts the connection")
	}
}

func vectorOffer(t *testing.T, v *vector) {
	if v.Expect.Text(t, "offer") != "error" {
		t.Fatal("unknown outcome of an offer")
	}
	f := frame(t, v.bytes(t))
	_, err := envelope.CheckOffer(f)
	if f.EnvelopeVersion != envelope.Version {
		f.EnvelopeVersion = envelope.Version // the vectors of this kind are about another fault
		_, err = envelope.CheckOffer(f)
	}
	wantError(t, v, err, "detail")
}
