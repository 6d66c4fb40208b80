// SPDX-License-Identifier: Apache-2.0

package mach_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// checks are the kinds of vectors, by direction and result.
var checks = map[string]func(*testing.T, *vector){
	"client->broker accept": vectorRequest,
	"client->broker reject": vectorReject,
	"broker->client port":   func(t *testing.T, v *vector) { vectorReply(t, v, true) },
	"broker->client status": func(t *testing.T, v *vector) { vectorReply(t, v, false) },
	"broker->client notify": vectorNotification,
}

// rightName says what a vector calls a right.
func rightName(r mach.Right) string {
	switch {
	case r.Fd == mach.Null:
		return "null"
	case r.Fd == mach.Dead:
		return "dead"
	case r.Disposition.Receive():
		return "receive"
	case r.Disposition.Send():
		return "send"
	}
	return "send-once"
}

// field compares a value if the vector has it.
func field[T comparable](t *testing.T, v values, key string, got T, take func(testing.TB, string) T) {
	t.Helper()
	if _, ok := v[key]; !ok {
		return
	}
	if want := take(t, key); got != want {
		t.Errorf("%s is %v, want %v", key, got, want)
	}
}

func vectorRequest(t *testing.T, v *vector) {
	req, err := mach.ParseRequest(v.packet, len(v.fds))
	if err != nil {
		t.Fatal(err)
	}
	e := v.expect
	field(t, e, "op", req.Routine.Op().String(), e.Text)
	field(t, e, "dialect", req.Routine.Dialect().String(), e.Text)
	field(t, e, "service", req.Service, e.Text)
	field(t, e, "label", req.Label, e.Text)
	field(t, e, "path", req.Launch.Path, e.Text)
	field(t, e, "uuid", hex.EncodeToString(req.UUID[:]), e.Text)
	field(t, e, "right", rightName(req.Right), e.Text)
	field(t, e, "token", int64(req.Token), e.Int)
	field(t, e, "flags", int64(req.Flags), e.Int)
	field(t, e, "pid", int64(req.PID), e.Int)
	field(t, e, "signal", int64(req.Signal), e.Int)
	if req.Routine == mach.Spawn {
		if args := e.Texts(t, "argv"); !slices.Equal(args, req.Launch.Args) {
			t.Errorf("argv is %q, want %q", req.Launch.Args, args)
		}
		if env := e.Texts(t, "env"); !slices.Equal(env, req.Launch.Env) {
			t.Errorf("env is %q, want %q", req.Launch.Env, env)
		}
	}
	if want := e.Object(t, "reply"); want != nil {
		vectorExpectedReply(t, req, want)
	}

	packet, err := req.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	v.same(t, packet, canonical(v.packet, req.Service))
	again, err := mach.ParseRequest(packet, len(v.fds))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(req, again); diff != "" {
		t.Error(diff)
	}
}

// canonical returns a request without what is ignored: voucher, reserved field, and
// what follows a name.
func canonical(packet []byte, service string) []byte {
	le := binary.LittleEndian
	b := slices.Clone(packet)
	le.PutUint32(b, le.Uint32(b)&^0x1f0000)
	le.PutUint32(b[8:], mach.BrokerPort)
	le.PutUint32(b[16:], 0)
	if i := strings.Index(string(b[mach.HeaderSize:]), service+"\x00"); service != "" && i >= 0 {
		i += mach.HeaderSize
		clear(b[i+len(service) : min(len(b), i+mach.NameSize)])
	}
	return b
}

// vectorExpectedReply compares the reply that a request gets.
func vectorExpectedReply(t *testing.T, req mach.Request, want values) {
	t.Helper()
	reply := req.Granted()
	if code := mach.Code(want.Int(t, "code")); code != mach.OK {
		reply = req.Refused(code)
	}
	field(t, want, "id", int64(reply.ID), want.Int)
	field(t, want, "size", int64(reply.Shape.Size()), want.Int)
	field(t, want, "disposition", int64(reply.Right.Disposition), want.Int)
	if complex, ok := want.Take("complex").(bool); ok && complex != reply.Shape.Complex() {
		t.Errorf("the reply's complex bit is %t, want %t", reply.Shape.Complex(), complex)
	}
	if reply.Token != req.Token {
		t.Errorf("the reply has token %d, want %d", reply.Token, req.Token)
	}
	for key, x := range want {
		t.Errorf("nobody has looked at expect.reply.%s: %v", key, x)
	}
	packet, err := reply.Append(nil)
	if err != nil || len(packet) != reply.Shape.Size() {
		t.Errorf("the reply is written as %x, %v", packet, err)
	}
}

func vectorReject(t *testing.T, v *vector) {
	req, err := mach.ParseRequest(v.packet, len(v.fds))
	if err == nil {
		t.Fatalf("accepted as %+v", req)
	}
	t.Log(v.expect.Text(t, "why"), "/", err)
	action, code := v.expect.Text(t, "action"), mach.Code(v.expect.Int(t, "code"))
	var framing *mach.FramingError
	var fault *mach.Fault
	switch {
	case errors.As(err, &framing):
		if action != "close" {
			t.Errorf("framing error, want %s: %v", action, err)
		}
		return
	case !errors.As(err, &fault):
		t.Fatalf("%T is no error of this package", err)
	}
	if want := map[bool]string{true: "drop", false: "error"}[fault.Silent()]; action != want || fault.Code != code {
		t.Errorf("%s with %d, want %s with %d", want, fault.Code, action, code)
	}
	packet, err := fault.Reply().Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if len(packet) != 36 || le.Uint32(packet[20:]) != le.Uint32(v.packet[20:])+100 ||
		le.Uint32(packet[8:]) != le.Uint32(v.packet[12:]) || int32(le.Uint32(packet[32:])) != int32(code) {
		t.Errorf("answered with %x", packet)
	}
	if token := v.expect.Int(t, "token"); token != 0 && token != int64(fault.Header.Local) {
		t.Errorf("token is %d, want %d", fault.Header.Local, token)
	}
}

func vectorReply(t *testing.T, v *vector, port bool) {
	reply, err := mach.ParseReply(v.packet, len(v.fds))
	if err != nil {
		t.Fatal(err)
	}
	if reply.Shape.Complex() != port {
		t.Errorf("the reply is %+v", reply)
	}
	e := v.expect
	field(t, e, "id", int64(reply.ID), e.Int)
	field(t, e, "token", int64(reply.Token), e.Int)
	field(t, e, "code", int64(reply.Code), e.Int)
	field(t, e, "active", int64(reply.Value), e.Int)
	field(t, e, "pid", int64(reply.Value), e.Int)
	field(t, e, "right", rightName(reply.Right), e.Text)
	field(t, e, "uuid", hex.EncodeToString(reply.UUID[:]), e.Text)
	packet, err := reply.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	v.same(t, packet, v.packet)
}

func vectorNotification(t *testing.T, v *vector) {
	n, err := mach.ParseNotification(v.packet, len(v.fds))
	if err != nil {
		t.Fatal(err)
	}
	e := v.expect
	field(t, e, "id", int64(n.Event), e.Int)
	field(t, e, "token", int64(n.Port), e.Int)
	field(t, e, "name", int64(n.Name), e.Int)
	field(t, e, "count", int64(n.Count), e.Int)
	field(t, e, "right", rightName(n.Right), e.Text)
	packet, err := n.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	v.same(t, packet, v.packet)
}
