// SPDX-License-Identifier: Apache-2.0

package xpc_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// dict returns a dictionary of pairs of keys and values.
func dict(pairs ...any) (d xpc.Dict) {
	for i := 0; i < len(pairs); i += 2 {
		d.Set(pairs[i].(string), pairs[i+1].(xpc.Value))
	}
	return d
}

func payload(t testing.TB, root xpc.Dict) []byte {
	t.Helper()
	b, _, err := xpc.AppendPayload(nil, xpc.MagicCurrent, root, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// reason returns why an error is a refusal.
func reason(t testing.TB, err error) *xpc.Fault {
	t.Helper()
	var fault *xpc.Fault
	if !errors.As(err, &fault) {
		t.Fatalf("%v is no refusal", err)
	}
	return fault
}

func nest(levels int, innermost xpc.Value) xpc.Value {
	for range levels {
		innermost = xpc.Array{innermost}
	}
	return innermost
}

func nulls(n int) xpc.Array {
	a := make(xpc.Array, n)
	for i := range a {
		a[i] = xpc.Null{}
	}
	return a
}

func ports(n int) (a xpc.Array) {
	for i := range n {
		a = append(a, xpc.MachSend{Right: mach.Right{Fd: mach.Fd(i + 1)}})
	}
	return a
}

// Each limit, at it and one past it, in both directions, as it is and as set.
func TestLimits(t *testing.T) {
	for name, c := range map[string]struct {
		most, more xpc.Value
		options    xpc.Options // under which more is allowed as well
		reason     xpc.Reason
	}{
		"payload": {
			make(xpc.Data, xpc.MaxPayload-32), make(xpc.Data, xpc.MaxPayload-31),
			xpc.Options{Payload: xpc.MaxPayload + 4}, xpc.ReasonLimit,
		},
		"values": {nulls(xpc.MaxValues - 1), nulls(xpc.MaxValues), xpc.Options{Values: xpc.MaxValues + 1}, xpc.ReasonLimit},
		"key": {
			dict(strings.Repeat("k", xpc.MaxKey), xpc.Null{}), dict(strings.Repeat("k", xpc.MaxKey+1), xpc.Null{}),
			xpc.Options{Key: xpc.MaxKey + 1}, xpc.ReasonLimit,
		},
		"rights": {ports(xpc.MaxRights), ports(xpc.MaxRights + 1), xpc.Options{Rights: xpc.MaxRights + 1}, xpc.ReasonLimit},
		"depth":  {nest(xpc.MaxDepth, xpc.Null{}), nest(xpc.MaxDepth+1, xpc.Null{}), xpc.Options{Depth: xpc.MaxDepth + 1}, xpc.ReasonDepth},
	} {
		t.Run(name, func(t *testing.T) {
			b, rights, err := xpc.AppendPayload(nil, xpc.MagicOld, dict("v", c.most), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := xpc.ParsePayload(b, rights, nil); err != nil {
				t.Error(err)
			}
			b, _, err = xpc.AppendPayload([]byte("kept"), xpc.MagicOld, dict("v", c.more), nil)
			if f := reason(t, err); f.Reason != c.reason || string(b) != "kept" {
				t.Errorf("wrote %q, %v", b, f)
			}
			b, rights, err = xpc.AppendPayload(nil, xpc.MagicOld, dict("v", c.more), &c.options)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := xpc.ParsePayload(b, rights, &c.options); err != nil {
				t.Error(err)
			}
			_, _, err = xpc.ParsePayload(b, rights, nil)
			if f := reason(t, err); f.Reason != c.reason {
				t.Error(f)
			}
		})
	}
}

// A refusal says where: which byte, and which value.
func TestFaultPlace(t *testing.T) {
	b := payload(t, dict("jobs", xpc.Array{xpc.Null{}, dict("On Demand", xpc.Array{xpc.Bool(true)}, "n", xpc.Int64(1))}))
	at := bytes.Index(b, []byte{0, 0x20, 0, 0, 1, 0, 0, 0}) + 4
	b[at] = 2
	_, _, err := xpc.ParsePayload(b, nil, nil)
	if f := reason(t, err); f.Offset != at || f.Path != `jobs[1]["On Demand"][0]` || f.Reason != xpc.ReasonBool {
		t.Errorf("%+v, want offset %d", f, at)
	}
	want := fmt.Sprintf(`cannot use jobs[1]["On Demand"][0] at byte %d: a bool is neither 0 nor 1 (bool)`, at)
	if err.Error() != want {
		t.Errorf("%s, want %s", err, want)
	}
	packet, _, err := xpc.Message{Kind: xpc.KindMessage, Token: 5, Root: dict("a", ports(1), "b", dict("c", xpc.Bool(true)))}.Append(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	packet[len(packet)-1] = 1
	_, err = xpc.ParseMessage(packet, 1, nil)
	if f := reason(t, err); f.Offset != len(packet)-4 || f.Path != "b.c" || f.Token != 5 {
		t.Errorf("%+v", f)
	}
}

// What would not be read again is not written.
func TestUnwritable(t *testing.T) {
	long := strings.Repeat("x", xpc.MaxPayload)
	loop := make(xpc.Array, 1)
	loop[0] = loop
	port := mach.Right{Fd: 1}
	for name, c := range map[string]struct {
		root   xpc.Dict
		reason xpc.Reason
		path   string
	}{
		"no value":         {xpc.Dict{{Key: "v"}}, xpc.ReasonTag, "v"},
		"pointer":          {dict("v", new(xpc.Int64)), xpc.ReasonTag, "v"},
		"file transfer":    {dict("v", xpc.FileTransfer{}), xpc.ReasonTag, "v"},
		"NUL":              {dict("v", xpc.String("a\x00b")), xpc.ReasonString, "v"},
		"no UTF-8":         {dict("v", xpc.Array{xpc.String("\xff")}), xpc.ReasonString, "v[0]"},
		"long":             {dict("v", xpc.String(long)), xpc.ReasonLimit, "v"},
		"NUL in a key":     {dict("\x00", xpc.Null{}), xpc.ReasonKey, ""},
		"no UTF-8 in key":  {dict("\xff", xpc.Null{}), xpc.ReasonKey, ""},
		"key twice":        {xpc.Dict{{Key: "v", Value: xpc.Null{}}, {Key: "v", Value: xpc.Null{}}}, xpc.ReasonDuplicate, "v"},
		"itself":           {dict("v", loop), xpc.ReasonDepth, "v" + strings.Repeat("[0]", xpc.MaxDepth)},
		"no right":         {dict("v", xpc.MachSend{}), xpc.ReasonRight, "v"},
		"dead right":       {dict("v", xpc.MachSend{Right: mach.Right{Fd: mach.Dead}}), xpc.ReasonRight, "v"},
		"same right twice": {dict("v", xpc.FD{Right: port}, "w", xpc.Endpoint{Right: port}), xpc.ReasonRight, "w"},
		"wrong kind":       {dict("v", xpc.FD{Right: mach.Right{Fd: 1, Disposition: mach.MoveReceive}}), xpc.ReasonRight, "v"},
		"send once":        {dict("v", xpc.MachSend{Right: mach.Right{Fd: 1, Disposition: mach.MoveSendOnce}}), xpc.ReasonRight, "v"},
	} {
		b, _, err := xpc.AppendPayload([]byte("kept"), xpc.MagicCurrent, c.root, nil)
		if f := reason(t, err); f.Reason != c.reason || f.Path != c.path || string(b) != "kept" {
			t.Errorf("%s: wrote %q, %v, path %q", name, b, f, f.Path)
		}
	}
	if _, _, err := xpc.AppendPayload(nil, xpc.MagicFile, nil, nil); reason(t, err).Reason != xpc.ReasonMagic {
		t.Error(err)
	}
	if _, err := xpc.AppendFile(nil, dict("v", xpc.FD{Right: port}), nil); reason(t, err).Reason != xpc.ReasonRight {
		t.Error(err)
	}
}

// A key that comes twice is noticed however many there are.
func TestDuplicateKeys(t *testing.T) {
	for n := 2; n < 100; n++ {
		var d xpc.Dict
		for i := range n {
			d.Set(fmt.Sprintf("%03d", i), xpc.Null{})
		}
		b := payload(t, d)
		for _, first := range []int{0, (n - 1) / 2, n - 2} {
			twice := bytes.Clone(b)
			copy(twice[20+(n-1)*8:], fmt.Sprintf("%03d", first))
			_, _, err := xpc.ParsePayload(twice, nil, nil)
			if f := reason(t, err); f.Reason != xpc.ReasonDuplicate || f.Offset != 20+(n-1)*8 {
				t.Errorf("%d keys: %v", n, f)
			}
		}
	}
}

// Descriptors that are grouped by disposition are read as those in payload order,
// and written in payload order.
func TestRightsOfTwoKinds(t *testing.T) {
	send := func(fd mach.Fd) mach.Right { return mach.Right{Fd: fd, Disposition: mach.CopySend} }
	receive := func(fd mach.Fd) mach.Right { return mach.Right{Fd: fd, Disposition: mach.MoveReceive} }
	b := payload(t, dict("a", xpc.MachSend{Right: send(1)}, "b", xpc.MachRecv{Right: receive(2)}, "c", xpc.MachSend{Right: send(3)}))
	_, root, err := xpc.ParsePayload(b, []mach.Right{receive(1), send(2), send(3)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := dict("a", xpc.MachSend{Right: send(2)}, "b", xpc.MachRecv{Right: receive(1)}, "c", xpc.MachSend{Right: send(3)})
	if diff := cmp.Diff(want, root); diff != "" {
		t.Error(diff)
	}
	_, order, err := xpc.AppendPayload(nil, xpc.MagicCurrent, root, nil)
	if diff := cmp.Diff([]mach.Right{send(2), receive(1), send(3)}, order); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for name, rights := range map[string][]mach.Right{
		"one too few":  {send(1), receive(2)},
		"one too many": {send(1), receive(2), send(3), send(4)},
		"of no use":    {send(1), receive(2), send(3), {Fd: 4, Disposition: mach.MoveSendOnce}},
		"a null one":   {send(1), receive(2), send(mach.Null)},
	} {
		_, _, err := xpc.ParsePayload(b, rights, nil)
		if f := reason(t, err); f.Reason != xpc.ReasonRight {
			t.Errorf("%s: %v", name, f)
		}
	}
	_, err = xpc.ParseFile(append(binary.LittleEndian.AppendUint32(nil, uint32(xpc.MagicFile)), b[4:]...), nil)
	if f := reason(t, err); f.Reason != xpc.ReasonRight || f.Path != "a" {
		t.Error(f)
	}
}

func TestFileTransfer(t *testing.T) {
	options := xpc.Options{FileTransfers: true}
	root := dict("file", xpc.FileTransfer{ID: 7, Size: 1 << 40}, "after", xpc.Null{})
	b, err := xpc.AppendFile(nil, root, &options)
	if err != nil {
		t.Fatal(err)
	}
	got, err := xpc.ParseFile(b, &options)
	if diff := cmp.Diff(root, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, err := xpc.ParseFile(b, nil); reason(t, err).Reason != xpc.ReasonTag {
		t.Error(err)
	}
	b[bytes.IndexByte(b, 's')]++
	if _, err := xpc.ParseFile(b, &options); reason(t, err).Reason != xpc.ReasonTag {
		t.Error(err)
	}
}

// What the vectors leave out, as changes to one payload.
func TestStrictness(t *testing.T) {
	b := payload(t, dict("ab", xpc.Array{xpc.Int64(1)}, "cd", xpc.Data("d")))
	le := binary.LittleEndian
	word := func(at int, n uint32) func([]byte) { return func(b []byte) { le.PutUint32(b[at:], n) } }
	for name, c := range map[string]struct {
		change func([]byte)
		reason xpc.Reason
		offset int
	}{
		"nothing":                  {func([]byte) {}, "", 0},
		"key is not UTF-8":         {func(b []byte) { b[20] = 0xff }, xpc.ReasonKey, 20},
		"padding of a key":         {func(b []byte) { b[23] = 1 }, xpc.ReasonPad, 23},
		"array 4 too short":        {word(28, 12), xpc.ReasonTruncated, 40},
		"array 4 too long":         {word(28, 20), xpc.ReasonLength, 48},
		"array of nothing":         {word(32, 0), xpc.ReasonLength, 36},
		"array of more than fits":  {word(32, 4), xpc.ReasonCount, 32},
		"array that is not closed": {word(28, 0), xpc.ReasonLength, 28},
		"wrapped length":           {word(28, 0xfffffffc), xpc.ReasonLength, 28},
		"wrapped length of data":   {word(56, 0xffffffff), xpc.ReasonLength, 56},
		"tag and a slot":           {word(36, uint32(xpc.TypeInt64)|1), xpc.ReasonTag, 36},
		"tag in its high half":     {word(36, uint32(xpc.TypeInt64)|1<<31), xpc.ReasonTag, 36},
	} {
		changed := bytes.Clone(b)
		c.change(changed)
		_, _, err := xpc.ParsePayload(changed, nil, nil)
		if err == nil && c.reason == "" {
			continue
		}
		if f := reason(t, err); f.Reason != c.reason || f.Offset != c.offset {
			t.Errorf("%s: %v, want %s at %d", name, err, c.reason, c.offset)
		}
	}
}
