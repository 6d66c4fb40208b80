// SPDX-License-Identifier: Apache-2.0

package xpc_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// checks are the kinds of vectors, by direction, frame and result.
var checks = map[string]func(*testing.T, *vector){
	"any payload accept":            vectorPayload,
	"any payload reject":            vectorRefusedPayload,
	"client->broker message accept": vectorMessage,
	"broker->client message accept": vectorMessage,
	"client->broker message reject": vectorRefusedMessage,
}

func vectorPayload(t *testing.T, v *vector) {
	magic := v.expect.Text(t, "magic")
	if magic == "serialization" {
		root, err := xpc.ParseFile(v.bytes, nil)
		if err != nil {
			t.Fatal(err)
		}
		vectorValue(t, root, v)
		b, err := xpc.AppendFile(nil, root, nil)
		vectorSame(t, b, err, v)
		return
	}
	rights := v.rights(t)
	got, root, err := xpc.ParsePayload(v.bytes, rights, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != magic {
		t.Errorf("magic is %s, want %s", got, magic)
	}
	vectorValue(t, root, v)
	b, order, err := xpc.AppendPayload(nil, got, root, nil)
	vectorSame(t, b, err, v)
	if diff := cmp.Diff(rights, order); diff != "" {
		t.Error(diff)
	}
}

func vectorValue(t *testing.T, root xpc.Dict, v *vector) {
	t.Helper()
	if diff := cmp.Diff(v.expect.Take("value"), written(root)); diff != "" {
		t.Error(diff)
	}
}

func vectorSame(t *testing.T, b []byte, err error, v *vector) {
	t.Helper()
	if v.expect.Take("roundtrip") != true {
		t.Error("the vector does not say that it is the same when written again")
	}
	if err != nil || !bytes.Equal(b, v.bytes) {
		t.Errorf("written as\n%x, %v, want\n%x", b, err, v.bytes)
	}
}

// written returns a value as vectors write it.
func written(v xpc.Value) any {
	of := func(kind string, more ...any) map[string]any {
		m := map[string]any{"t": kind}
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1]
		}
		return m
	}
	switch v := v.(type) {
	case xpc.Bool:
		return of("bool", "v", bool(v))
	case xpc.Int64:
		return of("int64", "v", strconv.FormatInt(int64(v), 10))
	case xpc.Uint64:
		return of("uint64", "v", strconv.FormatUint(uint64(v), 10))
	case xpc.Double:
		return of("double", "bits", fmt.Sprintf("%016x", math.Float64bits(float64(v))))
	case xpc.Date:
		return of("date", "v", strconv.FormatInt(int64(v), 10))
	case xpc.Data:
		return of("data", "hex", hex.EncodeToString(v))
	case xpc.String:
		return of("string", "v", string(v))
	case xpc.UUID:
		return of("uuid", "hex", hex.EncodeToString(v[:]))
	case xpc.Shmem:
		return of("shmem", "v", strconv.FormatUint(v.Size, 10))
	case xpc.Array:
		if n := nested(v); n > 3 {
			return of("nested_arrays", "levels", json.Number(strconv.Itoa(n)))
		}
		list := []any{}
		for _, x := range v {
			list = append(list, written(x))
		}
		return of("array", "v", list)
	case xpc.Dict:
		list := []any{}
		for _, e := range v {
			list = append(list, []any{e.Key, written(e.Value)})
		}
		return of("dict", "v", list)
	}
	return of(v.Type().String())
}

// nested returns how many arrays are each the only element of the one around it,
// the innermost being empty; 0: there is something else in one.
func nested(a xpc.Array) int {
	for n := 1; ; n++ {
		switch len(a) {
		case 0:
			return n
		case 1:
			inner, ok := a[0].(xpc.Array)
			if !ok {
				return 0
			}
			a = inner
		default:
			return 0
		}
	}
}

func vectorRefusedPayload(t *testing.T, v *vector) {
	if context := v.rest.Text(t, "context"); context != "" && context != "message" {
		t.Fatalf("unknown context %q", context)
	}
	_, root, err := xpc.ParsePayload(v.bytes, v.rights(t), nil)
	var fault *xpc.Fault
	if !errors.As(err, &fault) {
		t.Fatalf("read as %v, %v", root, err)
	}
	t.Log(err)
	if want := v.expect.Text(t, "reason"); string(fault.Reason) != want {
		t.Errorf("refused for %s, want %s", fault.Reason, want)
	}
}

func vectorMessage(t *testing.T, v *vector) {
	m, err := xpc.ParseMessage(v.bytes, len(v.fds), nil)
	if err != nil {
		t.Fatal(err)
	}
	id := uint64(m.Kind)
	if m.Kind == xpc.KindRoutine {
		id |= uint64(m.Routine)
	}
	if want := v.expect.Uint(t, "id"); id != want {
		t.Errorf("id is %#x, want %#x", id, want)
	}
	if token := v.expect.Int(t, "token"); int64(m.Token) != token {
		t.Errorf("token is %d, want %d", m.Token, token)
	}
	if handshake := v.expect.Take("handshake") == true; handshake != (m.Kind == xpc.KindHandshake) {
		t.Errorf("the message is %+v", m)
	} else if !handshake {
		vectorValue(t, m.Root, v)
	}
	if len(m.Rights) != len(v.fds) {
		t.Errorf("rights are %v, want %v", m.Rights, v.fds)
	}
	for i, r := range m.Rights {
		if r.Fd != mach.Fd(i+1) || r.Disposition.Receive() != (v.fds[i] == "receive") {
			t.Errorf("right %d is %v, want %s", i, r, v.fds[i])
		}
	}
	vectorRoutine(t, m, v)

	b, rights, err := m.Append([]byte("kept"), nil)
	want := append([]byte("kept"), v.bytes...)
	want[4+2] &^= 0x1f // the voucher
	if err != nil || !bytes.Equal(b, want) {
		t.Errorf("written as\n%x, %v, want\n%x", b, err, want)
	}
	if len(rights) != len(v.fds) {
		t.Errorf("written with %v", rights)
	}
}

// vectorRoutine compares what the pipe makes of a request.
func vectorRoutine(t *testing.T, m xpc.Message, v *vector) {
	e := v.expect
	if !e.Has("routine") {
		return
	}
	r, err := xpc.ParseRequest(m)
	if want := e.Int(t, "routine"); int64(r.Routine) != want {
		t.Errorf("routine is %d, want %d", r.Routine, want)
	}
	var refusal *xpc.Refusal
	switch answer := e.Object(t, "answer"); {
	case answer != nil:
		if !errors.As(err, &refusal) {
			t.Fatalf("read as %+v, %v", r, err)
		}
		code, err := refusal.Reply().Root.Int("error")
		if want := answer.Int(t, "error"); err != nil || code != want {
			t.Errorf("answered with %d, %v, want %d", code, err, want)
		}
	case errors.As(err, &refusal) && refusal.Code == xpc.NotImplemented && r.Routine == 828:
	case err != nil:
		t.Error(err)
	default:
		if e.Has("service") && r.Name != e.Text(t, "service") {
			t.Errorf("service is %q", r.Name)
		}
	}
}

func vectorRefusedMessage(t *testing.T, v *vector) {
	m, err := xpc.ParseClientMessage(v.bytes, len(v.fds), nil)
	if err == nil {
		t.Fatalf("read as %+v", m)
	}
	t.Log(v.expect.Text(t, "why"), "/", err)
	var framing *mach.FramingError
	var fault *xpc.Fault
	got := "close"
	switch {
	case errors.As(err, &framing):
	case !errors.As(err, &fault):
		t.Fatalf("%T is no error of this package", err)
	case fault.Silent():
		got = "drop"
	default:
		got = "error22"
		b, rights, err := fault.Reply().Append(nil, nil)
		if err != nil || len(rights) != 0 {
			t.Fatal(err)
		}
		reply, err := xpc.ParseMessage(b, 0, nil)
		if err != nil || reply.Kind != xpc.KindReply || reply.Token != 4097 {
			t.Errorf("answered with %+v, %v", reply, err)
		}
		if code, err := reply.Root.Int("error"); err != nil || code != 22 {
			t.Errorf("answered with %d, %v", code, err)
		}
	}
	if want := v.expect.Text(t, "action"); got != want {
		t.Errorf("the connection would %s, want %s: %v", got, want, err)
	}
}
