// SPDX-License-Identifier: Apache-2.0

package envelope_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// faults changes a frame in every way that its reader must refuse, in the
// order of the checks: each frame has the later faults as well.
func faults(t *testing.T, good envelope.Frame, check func(f envelope.Frame) error, want []string) {
	t.Helper()
	if err := check(good); err != nil {
		t.Fatal(err)
	}
	changes := []func(f *envelope.Frame){
		func(f *envelope.Frame) { f.EnvelopeVersion++ },
		func(f *envelope.Frame) { f.Kind = envelope.Cancel },
		func(f *envelope.Frame) { f.PayloadProtocol++ },
		func(f *envelope.Frame) { f.PayloadEncoding++ },
		func(f *envelope.Frame) { f.Payload = append([]byte{0, 0}, f.Payload...) },
	}
	for i, change := range changes {
		f := good
		change(&f)
		if i < 4 { // what is later is faulty too
			f.Payload = nil
		}
		if err := check(f); err == nil || !strings.Contains(err.Error(), want[i]) {
			t.Errorf("%v, not %s", err, want[i])
		}
	}
}

func TestHandoffEnvelopes(t *testing.T) {
	malformed := "a tag has an impossible field number"
	faults(t, offer.Frame(), func(f envelope.Frame) error { _, err := envelope.CheckOffer(f); return err },
		[]string{"envelope_version is not v1", "kind is not REQUEST", "payload_protocol is not handoff", "payload is compressed", malformed})
	faults(t, offer.Ack(nil).Frame(envelope.Response), func(f envelope.Frame) error { _, err := envelope.CheckAck(f, offer); return err },
		[]string{"envelope_version is not v1", "kind is not RESPONSE", "payload_protocol is not handoff", "payload is compressed", malformed})
	faults(t, offer.Ack(nil).Frame(envelope.Event), func(f envelope.Frame) error { return envelope.CheckReady(f, offeredToken[:]) },
		[]string{"envelope_version is not v1", "kind is not EVENT", "payload_protocol is not handoff", "payload is compressed", malformed})

	f := offer.Ack(nil).Frame(envelope.Response)
	f.RequestID = 2
	if _, err := envelope.CheckAck(f, offer); fmt.Sprint(err) != "HandoffAck request id 2 does not match offer correlation id 1" {
		t.Error(err)
	}
	var rejected *envelope.RejectedError
	if err := envelope.CheckReady(offer.Ack(errors.New("full")).Frame(envelope.Event), offeredToken[:]); !errors.As(err, &rejected) || err.Error() != "handoff was rejected: full" {
		t.Error(err)
	}
}

func TestProbeEnvelopes(t *testing.T) {
	d, _ := identity(t)
	request := envelope.ProbeRequest(probeNonce)
	reply, err := envelope.ProbeReply(request, d, [32]byte{})
	if err != nil {
		t.Fatal(err)
	}
	faults(t, request, func(f envelope.Frame) error { _, err := envelope.ProbeReply(f, d, [32]byte{}); return err },
		[]string{"envelope_version is not v1", "kind is not REQUEST", "payload_protocol is not endpoint probe", "payload is compressed", "nonce must be 32 bytes"})
	faults(t, reply, func(f envelope.Frame) error { return envelope.CheckProbeReply(f, probeNonce, d) },
		[]string{"envelope_version is not v1", "kind is not RESPONSE", "payload_protocol is not endpoint probe", "payload is compressed", "nonce does not match"})

	broken := reply
	broken.Payload = append(bytes.Clone(probeNonce[:]), 0, 0)
	if err := envelope.CheckProbeReply(broken, probeNonce, d); err == nil {
		t.Error("a broken identity is taken")
	}
	for field, change := range map[string]func(d *envelope.DaemonProcess){
		"pid": func(d *envelope.DaemonProcess) { d.PID++; d.ExePath = "" }, "exe_path": func(d *envelope.DaemonProcess) { d.ExePath = ""; d.ExeHash = nil },
		"exe_hash": func(d *envelope.DaemonProcess) { d.ExeHash = nil; d.BootID = "" }, "boot_id": func(d *envelope.DaemonProcess) { d.BootID = ""; d.IPCEndpoint = nil },
		"ipc_endpoint": func(d *envelope.DaemonProcess) { d.IPCEndpoint = &envelope.Endpoint{Path: d.IPCEndpoint.Path} },
	} {
		want := d
		change(&want)
		if err := envelope.CheckProbeReply(reply, probeNonce, want); fmt.Sprint(err) != "daemon process has another "+field {
			t.Errorf("%v, not %s", err, field)
		}
	}
	d.IPCEndpoint = nil
	if err := envelope.CheckProbeReply(reply, probeNonce, d); err == nil {
		t.Error("no address is that of a reply")
	}
	d.StartedAtUnixMS, d.IdleTimeoutSecs = 0, nil
	if err := envelope.CheckServed(envelope.Probe); err != nil {
		t.Error(err)
	}
}

func TestTokens(t *testing.T) {
	var tokens envelope.Tokens
	token := issue(t, &tokens, 0)
	for got, want := range map[string]string{
		"":                      "handoff token is missing",
		"abc":                   "handoff token length was 3 bytes; expected 16",
		strings.Repeat("x", 16): "handoff token mismatch",
	} {
		if err := tokens.Consume(token, []byte(got), 1); fmt.Sprint(err) != want {
			t.Errorf("%v, not %s", err, want)
		}
		if err := tokens.Acknowledge(token, []byte(got), 1); fmt.Sprint(err) != want {
			t.Errorf("%v, not %s", err, want)
		}
	}
	if err := tokens.Acknowledge(token, token[:], 1); err != envelope.ErrAckNotPending {
		t.Errorf("acknowledged before it was registered: %v", err)
	}
	if err := tokens.Consume(token, token[:], envelope.TokenTTL); err != envelope.ErrTokenExpired || tokens.Len() != 0 {
		t.Error(err)
	}
	if err := tokens.Register(token, 0); err != envelope.ErrTokenNotPending {
		t.Error(err)
	}
	token = issue(t, &tokens, 0)
	if err := tokens.Register(token, envelope.TokenTTL); err != envelope.ErrTokenExpired || tokens.Len() != 0 {
		t.Error(err)
	}
	token = issue(t, &tokens, 0)
	if !tokens.Abandon(token) || tokens.Abandon(token) {
		t.Error("abandoned twice, or not at all")
	}

	// A token ends at the first of its own time and its offer's.
	token = issue(t, &tokens, 0)
	if err := tokens.Register(token, envelope.TokenTTL-1); err != nil {
		t.Fatal(err)
	}
	if err := tokens.Acknowledge(token, token[:], envelope.TokenTTL); err != envelope.ErrAckDeadline {
		t.Error(err)
	}
}

func TestTokensLimits(t *testing.T) {
	var tokens envelope.Tokens
	var n uint16
	next := func() (token [16]byte, err error) { n++; return [16]byte{byte(n), byte(n >> 8)}, nil }
	for range envelope.TokenLimit {
		if _, err := tokens.Issue(next, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tokens.Issue(next, 1); err != envelope.ErrTokensFull {
		t.Error(err)
	}
	if _, err := tokens.Issue(next, envelope.TokenTTL); err != nil || tokens.Len() != 1 {
		t.Error(tokens.Len(), err)
	}
	same := [16]byte{byte(n), byte(n >> 8)}
	if _, err := tokens.Issue(func() ([16]byte, error) { return same, nil }, envelope.TokenTTL); err != envelope.ErrTokenCollision {
		t.Error(err)
	}
	dry := errors.New("dry")
	if _, err := tokens.Issue(func() ([16]byte, error) { return same, dry }, envelope.TokenTTL); err != dry {
		t.Error(err)
	}
}

func TestManifestErrors(t *testing.T) {
	if _, err := envelope.CheckManifest([]byte{0}); err == nil {
		t.Error("it is read")
	}
	if got := (&envelope.SchemaError{Got: 2, Supported: 1}).Error(); got != "manifest schema 2 is too new: 1 is supported" {
		t.Error(got)
	}
	m := envelope.CacheManifest{ServiceName: "a"}.Seal()
	b := m.Append(nil)
	if _, err := envelope.CheckManifest(append(b, "\xc2\x3e\x01x"...)); err != nil || m.MediaType != envelope.ManifestMediaType {
		t.Errorf("a field that was added later: %v", err) // as the original, which does not see it
	}
	if _, err := envelope.CheckManifest(envelope.CacheManifest{}.Append(nil)); err != envelope.ErrCorruption {
		t.Errorf("without a hash: %v", err)
	}
}
