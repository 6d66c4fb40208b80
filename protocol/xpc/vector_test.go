// SPDX-License-Identifier: Apache-2.0

package xpc_test

import (
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/vectortest"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// vector is one example. What a test reads is taken out of rest and expect, and
// what is left fails: a vector never passes by accident.
type vector struct {
	kind         string // direction, frame and result
	bytes        []byte
	fds          []string
	expect, rest values
}

type values = vectortest.Values

func newVector(t testing.TB, v values) vector {
	t.Helper()
	b, err := hex.DecodeString(v.Text(t, "hex"))
	if err != nil {
		t.Fatal(err)
	}
	if size := v.Int(t, "size"); int(size) != len(b) {
		t.Fatalf("the vector says %d bytes and has %d", size, len(b))
	}
	x := vector{bytes: b, fds: v.Texts(t, "fds"), expect: v.Object(t, "expect"), rest: v}
	x.kind = v.Text(t, "direction") + " " + v.Text(t, "frame") + " " + x.expect.Text(t, "result")
	for _, words := range []string{"name", "note", "provenance"} {
		v.Take(words)
	}
	return x
}

// dispositions are those that rights have in messages, by the kind of the vector's
// file descriptor.
var dispositions = map[string]mach.Disposition{
	"file": mach.MoveSend, "memfd": mach.MoveSend, "send": mach.CopySend, "receive": mach.MoveReceive,
}

// rights returns the rights of a payload.
func (v *vector) rights(t testing.TB) (rights []mach.Right) {
	t.Helper()
	for i, kind := range v.fds {
		if dispositions[kind] == 0 {
			t.Fatalf("unknown kind of file descriptor %q", kind)
		}
		rights = append(rights, mach.Right{Fd: mach.Fd(i + 1), Disposition: dispositions[kind]})
	}
	return rights
}

func readVectors(t testing.TB) []values {
	t.Helper()
	return vectortest.Vectors[values](t, "testdata", "xpc-vectors/1")
}

// TestVector runs every vector, as a subtest with its name.
func TestVector(t *testing.T) {
	all := readVectors(t)
	for _, v := range all {
		t.Run(fmt.Sprint(v["name"]), func(t *testing.T) { runVector(t, v) })
	}
	if len(all) < 138 {
		t.Errorf("only %d vectors ran", len(all))
	}
}

func runVector(t *testing.T, raw values) {
	v := newVector(t, raw)
	run, ok := checks[v.kind]
	if !ok {
		t.Fatalf("unknown kind of vector %q: %v", v.kind, v.expect)
	}
	run(t, &v)
	for key, x := range v.expect {
		t.Errorf("nobody has looked at expect.%s: %v", key, x)
	}
	for key, x := range v.rest {
		t.Errorf("nobody has looked at %s: %v", key, x)
	}
}
