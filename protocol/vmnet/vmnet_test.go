// SPDX-License-Identifier: Apache-2.0

package vmnet_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

func wantCode(t *testing.T, what string, err error, code vmnet.Code) {
	t.Helper()
	var refusal *vmnet.Refusal
	if !errors.As(err, &refusal) || refusal.Code != code {
		t.Errorf("%s: %v, want code %d", what, err, code)
	}
}

func TestRequests(t *testing.T) {
	for _, r := range []vmnet.Request{
		{Command: vmnet.Acquire, Network: "shared"},
		{Command: vmnet.Acquire, Network: "lab", Version: 1, ID: "web", Kind: "datagram", Driver: "user"},
		{Command: vmnet.Release, Version: 1, Lease: 5},
		{Command: vmnet.List, Version: 1},
		{Command: vmnet.Status, Version: 1, Network: "lab", After: "k"},
		{Command: vmnet.Leases, Version: 1, After: "17"},
		{Command: vmnet.Forward, Version: 1, Network: "lab", Guest: "web", Port: 80, Address: "127.0.0.1:0", Protocol: "udp"},
		{Command: vmnet.Dial, Version: 1, Network: "lab", Guest: "192.168.64.5", Port: 65535},
	} {
		got, err := vmnet.ParseRequest(r.Dict())
		if err != nil || got != r {
			t.Errorf("got %+v, %v; want %+v", got, err, r)
		}
		more := append(xpc.Dict{{Key: "later", Value: xpc.Null{}}}, r.Dict()...)
		if got, err := vmnet.ParseRequest(more); err != nil || got != r {
			t.Errorf("with an unknown key: %+v, %v", got, err)
		}
	}
}

func TestRequestsRefused(t *testing.T) {
	acquire := vmnet.Request{Command: vmnet.Acquire, Network: "shared"}
	forward := vmnet.Request{Command: vmnet.Forward, Version: 1, Network: "lab", Guest: "web", Port: 80, Address: "127.0.0.1:0"}
	with := func(r vmnet.Request, key string, v xpc.Value) xpc.Dict {
		d := r.Dict()
		d.Set(key, v)
		return d
	}
	for what, d := range map[string]xpc.Dict{
		"nothing":          nil,
		"no command":       {{Key: "network_name", Value: xpc.String("shared")}},
		"command of bytes": {{Key: "command", Value: xpc.Data("acquire")}},
		"unknown command":  vmnet.Request{Command: "ping", Version: 1}.Dict(),
		"no version":       vmnet.Request{Command: vmnet.List}.Dict(),
		"another version":  vmnet.Request{Command: vmnet.List, Version: 2}.Dict(),
		"version of text":  with(vmnet.Request{Command: vmnet.List}, "version", xpc.String("1")),
		"no name":          vmnet.Request{Command: vmnet.Acquire}.Dict(),
		"name of null":     with(acquire, "network_name", xpc.Null{}),
		"empty id":         with(acquire, "id", xpc.String("")),
		"long id":          with(acquire, "id", xpc.String(strings.Repeat("x", vmnet.MaxID+1))),
		"id of two lines":  with(acquire, "id", xpc.String("a\nb")),
		"id of a number":   with(acquire, "id", xpc.Uint64(1)),
		"unknown kind":     with(acquire, "kind", xpc.String("seqpacket")),
		"empty kind":       with(acquire, "kind", xpc.String("")),
		"unknown driver":   with(acquire, "driver", xpc.String("kernel")),
		"no lease":         vmnet.Request{Command: vmnet.Release, Version: 1}.Dict(),
		"negative lease":   with(vmnet.Request{Command: vmnet.Release, Version: 1}, "lease", xpc.Int64(-1)),
		"port 0":           with(forward, "port", xpc.Uint64(0)),
		"port too large":   with(forward, "port", xpc.Uint64(65536)),
		"other protocol":   with(forward, "protocol", xpc.String("sctp")),
		"address of bytes": with(forward, "address", xpc.Data{}),
	} {
		_, err := vmnet.ParseRequest(d)
		wantCode(t, what, err, vmnet.InvalidRequest)
	}
	if _, err := vmnet.ParseRequest(with(acquire, "version", xpc.Date(3))); err != nil {
		t.Error("acquire of an old client with a key of the same name:", err)
	}
}

func TestReplies(t *testing.T) {
	details := vmnet.Details{
		Interface: 1, Kind: "stream", Name: "shared", Mode: "shared", Subnet: "192.168.64.0", Mask: "255.255.255.0", Gateway: "192.168.64.1",
		MTU: 1500, MAC: "02:00:00:00:00:01", IP: "192.168.64.5", Lease: 3, Driver: "user",
	}
	if got, err := vmnet.ParseDetails(details.Reply()); err != nil || got != details {
		t.Errorf("details: %+v, %v", got, err)
	}
	forwarded := vmnet.Forwarded{Protocol: "tcp", Address: "127.0.0.1:1", Guest: "192.168.64.5:80"}
	if got, err := vmnet.ParseForwarded(forwarded.Reply()); err != nil || got != forwarded {
		t.Errorf("forwarded: %+v, %v", got, err)
	}
	if fd, err := vmnet.ParseConnection(vmnet.ConnectionReply()); err != nil || fd != 1 {
		t.Errorf("connection: %v, %v", fd, err)
	}
	networks := []vmnet.Network{
		{Name: "lab", File: "/etc/lab.toml", Fault: "line 3"},
		{Name: "shared", Mode: "shared", Active: true, Driver: "user", Subnet: "192.168.64.0", Mask: "255.255.255.0", Gateway: "192.168.64.1", MTU: 1500,
			Since: 5, RemovalDelay: vmnet.Never, Leases: 2, Forwards: []vmnet.Forwarded{forwarded}, Counts: vmnet.Counts{FramesIn: 1, Refused: 6},
			TCP: vmnet.Flows{Now: 1, All: 2}, UDP: vmnet.Flows{Refused: 3}},
	}
	got, more, err := vmnet.ParseNetworks(vmnet.NetworksReply(networks))
	if diff := cmp.Diff(networks, got); diff != "" || more || err != nil {
		t.Errorf("networks: %v, %v: %s", more, err, diff)
	}
	leases := []vmnet.Lease{{ID: 3, Network: "shared", Identity: "web", MAC: "m", IP: "i", Kind: "stream", PID: 1, UID: 2, Since: 3, Counts: vmnet.Counts{BytesOut: 9}}}
	gotLeases, more, err := vmnet.ParseLeases(vmnet.LeasesReply(leases))
	if diff := cmp.Diff(leases, gotLeases); diff != "" || more || err != nil {
		t.Errorf("leases: %v, %v: %s", more, err, diff)
	}

	refusal := vmnet.Refuse(vmnet.NotFound, "there is no\x00 network")
	if d := refusal.Reply(0); len(d) != 1 {
		t.Errorf("an old client is told more than the code: %v", d)
	}
	for _, parse := range []func(xpc.Dict) error{
		func(d xpc.Dict) error { _, err := vmnet.ParseDetails(d); return err },
		func(d xpc.Dict) error { _, err := vmnet.ParseForwarded(d); return err },
		func(d xpc.Dict) error { _, err := vmnet.ParseConnection(d); return err },
		func(d xpc.Dict) error { _, _, err := vmnet.ParseNetworks(d); return err },
		func(d xpc.Dict) error { _, _, err := vmnet.ParseLeases(d); return err },
	} {
		wantCode(t, "a refusal", parse(refusal.Reply(1)), vmnet.NotFound)
		wantCode(t, "an unknown code", parse(xpc.Dict{{Key: "error", Value: xpc.Int64(99)}}), 99)
		wantCode(t, "a code of text", parse(xpc.Dict{{Key: "error", Value: xpc.String("5")}}), vmnet.InvalidReply)
		wantCode(t, "nothing", parse(nil), vmnet.InvalidReply)
	}
}

// TestListsFit: a list of any size is a message that can be sent.
func TestListsFit(t *testing.T) {
	var all []vmnet.Network
	for i := range 3000 {
		all = append(all, vmnet.Network{Name: fmt.Sprintf("%04d", i), Description: strings.Repeat("d", i%256), Active: i%2 == 0})
	}
	many := make([]vmnet.Forwarded, 2000)
	all[1500].Forwards = many
	seen := 0
	for len(all) > 0 {
		root := vmnet.NetworksReply(all)
		if _, _, err := (xpc.Message{Kind: xpc.KindReply, Token: 1, Root: root}).Append(nil, nil); err != nil {
			t.Fatal(err)
		}
		some, more, err := vmnet.ParseNetworks(root)
		if err != nil || len(some) == 0 || more != (len(some) < len(all)) {
			t.Fatal(err, len(some), more)
		}
		seen, all = seen+len(some), all[len(some):]
	}
	if seen != 3000 {
		t.Errorf("%d networks came through", seen)
	}
}

// FuzzParse: what any dictionary makes of the parsers is an answer.
func FuzzParse(f *testing.F) {
	for _, d := range []xpc.Dict{vmnet.Request{Command: vmnet.Dial, Version: 1, Guest: "g", Port: 1}.Dict(), vmnet.NetworksReply([]vmnet.Network{{Active: true}})} {
		b, err := xpc.AppendFile(nil, d, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := xpc.ParseFile(b, nil)
		if err != nil {
			return
		}
		_, err = vmnet.ParseRequest(d)
		if refusal := (*vmnet.Refusal)(nil); err != nil && (!errors.As(err, &refusal) || refusal.Code != vmnet.InvalidRequest) {
			t.Error(err)
		}
		_, _ = vmnet.ParseDetails(d)
		_, _, _ = vmnet.ParseNetworks(d)
		_, _, _ = vmnet.ParseLeases(d)
	})
}
