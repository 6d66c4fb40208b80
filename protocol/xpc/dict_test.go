// SPDX-License-Identifier: Apache-2.0

package xpc_test

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

func TestDictSet(t *testing.T) {
	d := dict("a", xpc.Int64(1), "b", xpc.Int64(2), "a", xpc.String("x"))
	want := xpc.Dict{{Key: "a", Value: xpc.String("x")}, {Key: "b", Value: xpc.Int64(2)}}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
	if !d.Has("b") || d.Has("c") || d.Get("c") != nil {
		t.Error("keys are not those that were set")
	}
}

func TestDictGetters(t *testing.T) {
	d := dict("text", xpc.String("x"), "yes", xpc.Bool(true), "int", xpc.Int64(-1), "five", xpc.Int64(5), "uint", xpc.Uint64(7),
		"large", xpc.Uint64(math.MaxUint64), "double", xpc.Double(1.5), "date", xpc.Date(9), "data", xpc.Data("d"),
		"uuid", xpc.UUID{1}, "array", xpc.Array{}, "dict", xpc.Dict{}, "port", xpc.MachSend{Right: mach.Right{Fd: 3}})
	type result struct {
		Value any
		Err   string
	}
	of := func(v any, err error) result {
		if err != nil {
			return result{nil, err.Error()}
		}
		return result{v, ""}
	}
	check := func(got result, want result) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	check(of(d.String("text")), result{"x", ""})
	check(of(d.String("int")), result{nil, `key "int": int64, want string`})
	check(of(d.String("no")), result{nil, `key "no": missing, want string`})
	check(of(d.Bool("yes")), result{true, ""})
	check(of(d.Bool("uint")), result{nil, `key "uint": uint64, want bool`})
	check(of(d.Int("int")), result{int64(-1), ""})
	check(of(d.Int("uint")), result{int64(7), ""})
	check(of(d.Int("large")), result{nil, `key "large": larger than an int64 can be`})
	check(of(d.Int("text")), result{nil, `key "text": string, want int64`})
	check(of(d.Uint("large")), result{uint64(math.MaxUint64), ""})
	check(of(d.Uint("five")), result{uint64(5), ""})
	check(of(d.Uint("int")), result{nil, `key "int": negative`})
	check(of(d.Uint("double")), result{nil, `key "double": double, want uint64`})
	check(of(d.Double("double")), result{1.5, ""})
	check(of(d.Date("date")), result{int64(9), ""})
	check(of(d.Date("int")), result{nil, `key "int": int64, want date`})
	check(of(d.Data("data")), result{[]byte("d"), ""})
	check(of(d.UUID("uuid")), result{[16]byte{1}, ""})
	check(of(d.Array("array")), result{xpc.Array{}, ""})
	check(of(d.Dict("dict")), result{xpc.Dict{}, ""})
	check(of(xpc.Get[xpc.MachSend](d, "port")), result{xpc.MachSend{Right: mach.Right{Fd: 3}}, ""})
	check(of(xpc.Get[xpc.MachRecv](d, "port")), result{nil, `key "port": mach_send, want mach_recv`})

	_, err := d.Int("no")
	var keyed *xpc.KeyError
	if !errors.Is(err, xpc.ErrMissing) || !errors.As(err, &keyed) || keyed.Key != "no" {
		t.Error(err)
	}
	if _, err := d.Int("text"); errors.Is(err, xpc.ErrMissing) {
		t.Error("a key that is there is missing")
	}
}
