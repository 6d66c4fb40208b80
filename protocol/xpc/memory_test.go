// SPDX-License-Identifier: Apache-2.0

package xpc_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// Memory taken is a small multiple of the input, for input that is true and for
// input that lies about its counts at every level.
func TestAllocation(t *testing.T) {
	entries := make(xpc.Dict, 0, xpc.MaxValues)
	for i := range xpc.MaxValues {
		entries = append(entries, xpc.Entry{Key: fmt.Sprintf("%03x", i), Value: xpc.Null{}})
	}
	arrays := make(xpc.Array, xpc.MaxValues-1)
	for i := range arrays {
		arrays[i] = xpc.Array{}
	}
	inputs := map[string][]byte{
		"entries": payload(t, entries),
		"nulls":   payload(t, dict("v", nulls(xpc.MaxValues-1))),
		"arrays":  payload(t, dict("v", arrays)),
		"data":    payload(t, dict("v", make(xpc.Data, 60000))),
		"text":    payload(t, dict("v", xpc.String(strings.Repeat("x", 60000)))),
	}
	for name, lie := range map[string][3]uint32{
		"arrays that lie":       {uint32(xpc.TypeArray), 12, 4},
		"dictionaries that lie": {uint32(xpc.TypeDict), 16, 8},
	} {
		b := payload(t, dict("v", xpc.Data(make([]byte, 60000))))
		le := binary.LittleEndian
		for at := 24; at < 24+120*int(lie[1]); at += int(lie[1]) {
			length := uint32(len(b)-at-8) &^ 3
			le.PutUint32(b[at:], lie[0])
			le.PutUint32(b[at+4:], length)
			le.PutUint32(b[at+8:], (length-4)/lie[2])
		}
		inputs[name] = b
	}
	options := xpc.Options{Values: math.MaxInt32} // the bound is not this limit's
	for name, b := range inputs {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := xpc.ParsePayload(b, nil, &options)
		runtime.ReadMemStats(&after)
		took := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %d bytes take %d (%.1f), %v", name, len(b), took, float64(took)/float64(len(b)), err)
		if took > 16*uint64(len(b))+4096 {
			t.Errorf("%s: %d bytes take %d", name, len(b), took)
		}
	}
}

// Nothing that was read changes with the bytes that it was read from.
func TestNoAlias(t *testing.T) {
	root := dict("key", xpc.String("text"), "data", xpc.Data("data"), "uuid", xpc.UUID{1, 2})
	b := payload(t, root)
	_, got, err := xpc.ParsePayload(b, nil, nil)
	clear(b)
	if diff := cmp.Diff(root, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func BenchmarkParse(b *testing.B) {
	request := xpc.Request{Routine: xpc.LookUp2, Token: 7, Type: xpc.RequestorDomain, Name: "com.example.echo"}
	packet, _, err := request.Message().Append(nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		m, err := xpc.ParseMessage(packet, 0, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := xpc.ParseRequest(m); err != nil {
			b.Fatal(err)
		}
	}
}
