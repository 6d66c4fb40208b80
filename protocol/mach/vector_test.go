// SPDX-License-Identifier: Apache-2.0

package mach_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/vectortest"
)

// later are the vectors that need a live server or its state, by name, with the
// reason: other tests run them. All else is run here.
var later = map[string]string{}

// vector is one example of the protocol. What a test reads is taken out of rest
// and expect, and what is left fails: a vector never passes by accident.
type vector struct {
	direction    string
	packet       []byte
	fds          []string
	mask         [][2]int
	expect, rest values
}

type values = vectortest.Values

func newVector(t testing.TB, v values) vector {
	t.Helper()
	packet, err := hex.DecodeString(v.Text(t, "hex"))
	if err != nil {
		t.Fatal(err)
	}
	if size := v.Int(t, "size"); int(size) != len(packet) {
		t.Fatalf("the vector says %d bytes and has %d", size, len(packet))
	}
	x := vector{
		direction: v.Text(t, "direction"), packet: packet, fds: v.Texts(t, "fds"), expect: v.Object(t, "expect"), rest: v,
	}
	for _, r := range v.List(t, "mask") {
		var from, to int
		if _, err := fmt.Sscanf(fmt.Sprint(r), "[%d %d]", &from, &to); err != nil {
			t.Fatalf("mask %v: %v", r, err)
		}
		x.mask = append(x.mask, [2]int{from, to})
	}
	for _, words := range []string{"name", "note", "provenance"} {
		v.Take(words)
	}
	return x
}

// same compares packets, leaving out what an implementation may fill otherwise.
func (v *vector) same(t *testing.T, got, want []byte) {
	t.Helper()
	got, want = bytes.Clone(got), bytes.Clone(want)
	for _, m := range v.mask {
		if m[1] <= len(got) && m[1] <= len(want) {
			clear(got[m[0]:m[1]])
			clear(want[m[0]:m[1]])
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("written as\n%x\nwant\n%x", got, want)
	}
}

func readVectors(t testing.TB) []values {
	t.Helper()
	return vectortest.Vectors[values](t, "testdata", "mach-bootstrap-vectors/1")
}

// TestVector runs every vector, as a subtest with its name.
func TestVector(t *testing.T) {
	all := readVectors(t)
	for _, v := range all {
		name := fmt.Sprint(v["name"])
		t.Run(name, func(t *testing.T) {
			if why, ok := later[name]; ok {
				t.Skip(why)
			}
			runVector(t, v)
		})
	}
	if len(all) < 72 {
		t.Errorf("only %d vectors ran", len(all))
	}
}

func runVector(t *testing.T, raw values) {
	v := newVector(t, raw)
	kind := v.direction + " " + v.expect.Text(t, "result")
	run, ok := checks[kind]
	if !ok {
		t.Fatalf("unknown kind of vector %q: %v", kind, v.expect)
	}
	run(t, &v)
	for key, x := range v.expect {
		t.Errorf("nobody has looked at expect.%s: %v", key, x)
	}
	for key, x := range v.rest {
		t.Errorf("nobody has looked at %s: %v", key, x)
	}
}
