// SPDX-License-Identifier: Apache-2.0

package mach_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
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

type values map[string]any

// take returns a value and removes it; those that are left are unknown.
func (v values) take(key string) any {
	x := v[key]
	delete(v, key)
	return x
}

func (v values) text(t testing.TB, key string) string {
	t.Helper()
	x := v.take(key)
	s, ok := x.(string)
	if x != nil && !ok {
		t.Fatalf("%q is not a string: %v", key, x)
	}
	return s
}

func (v values) number(t testing.TB, key string) int64 {
	t.Helper()
	switch x := v.take(key).(type) {
	case nil:
		return 0
	case json.Number:
		n, err := x.Int64()
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		return n
	default:
		t.Fatalf("%q is not a number: %v", key, x)
		return 0
	}
}

func (v values) list(t testing.TB, key string) []any {
	t.Helper()
	x := v.take(key)
	l, ok := x.([]any)
	if x != nil && !ok {
		t.Fatalf("%q is not a list: %v", key, x)
	}
	return l
}

func (v values) texts(t testing.TB, key string) (s []string) {
	t.Helper()
	for _, x := range v.list(t, key) {
		s = append(s, fmt.Sprint(x))
	}
	return s
}

func (v values) object(t testing.TB, key string) values {
	t.Helper()
	x := v.take(key)
	m, ok := x.(map[string]any)
	if x != nil && !ok {
		t.Fatalf("%q is not an object: %v", key, x)
	}
	return m
}

func newVector(t testing.TB, v values) vector {
	t.Helper()
	packet, err := hex.DecodeString(v.text(t, "hex"))
	if err != nil {
		t.Fatal(err)
	}
	if size := v.number(t, "size"); int(size) != len(packet) {
		t.Fatalf("the vector says %d bytes and has %d", size, len(packet))
	}
	x := vector{
		direction: v.text(t, "direction"), packet: packet, fds: v.texts(t, "fds"), expect: v.object(t, "expect"), rest: v,
	}
	for _, r := range v.list(t, "mask") {
		var from, to int
		if _, err := fmt.Sscanf(fmt.Sprint(r), "[%d %d]", &from, &to); err != nil {
			t.Fatalf("mask %v: %v", r, err)
		}
		x.mask = append(x.mask, [2]int{from, to})
	}
	for _, words := range []string{"name", "note", "provenance"} {
		v.take(words)
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

// vectorFiles returns the files with vectors: those of the repository, and of the
// folder that SWITCHBOARD_VECTORS names.
func vectorFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*-vectors.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no vectors: ", err)
	}
	if dir := os.Getenv("SWITCHBOARD_VECTORS"); dir != "" {
		more, err := filepath.Glob(filepath.Join(dir, "*-vectors.json"))
		if err != nil || len(more) == 0 {
			t.Fatalf("no vectors in SWITCHBOARD_VECTORS=%s: %v", dir, err)
		}
		files = append(files, more...)
	}
	return files
}

// readVectors returns the vectors of a file, or none if it is about something else.
func readVectors(t testing.TB, file string) []values {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Format  any
		Subject string
		Vectors []values
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&body); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	format := fmt.Sprint(body.Format)
	if !strings.Contains(format+" "+body.Subject, "mach-bootstrap") {
		return nil
	}
	if format != "mach-bootstrap-vectors/1" {
		t.Fatalf("%s has unknown format %s", file, format)
	}
	if len(body.Vectors) == 0 {
		t.Fatalf("%s has no vectors", file)
	}
	return body.Vectors
}

// TestVector runs every vector, as a subtest with its name.
func TestVector(t *testing.T) {
	ran := make(map[string]bool)
	for _, file := range vectorFiles(t) {
		for _, v := range readVectors(t, file) {
			same := fmt.Sprint(v)
			if ran[same] {
				continue // a file that is in both folders
			}
			ran[same] = true
			name := fmt.Sprint(v["name"])
			t.Run(name, func(t *testing.T) {
				if why, ok := later[name]; ok {
					t.Skip(why)
				}
				runVector(t, v)
			})
		}
	}
	if len(ran) < 72 {
		t.Errorf("only %d vectors ran", len(ran))
	}
}

func runVector(t *testing.T, raw values) {
	v := newVector(t, raw)
	kind := v.direction + " " + v.expect.text(t, "result")
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
