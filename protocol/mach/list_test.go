// SPDX-License-Identifier: Apache-2.0

package mach_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

func wantBadArguments(t *testing.T, what string, err error) {
	t.Helper()
	var fault *mach.Fault
	if !errors.As(err, &fault) || fault.Code != mach.BadArguments {
		t.Errorf("%s: %v", what, err)
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("x", mach.NameSize)
	b := mach.AppendNames([]byte("kept"), "com.example.echo", "", long)[len("kept"):]
	names, err := mach.ParseNames(b, 3)
	if want := []string{"com.example.echo", "", long[:mach.NameSize-1]}; err != nil || !slices.Equal(names, want) {
		t.Errorf("%q, %v", names, err)
	}
	for what, broken := range map[string][]byte{
		"short": b[:len(b)-1], "long": append(slices.Clone(b), 0), "no NUL": []byte(long + long + long), "nothing": nil,
	} {
		_, err := mach.ParseNames(broken, 3)
		wantBadArguments(t, what, err)
	}
	_, err = mach.ParseNames(nil, 1<<31)
	wantBadArguments(t, "huge count", err)
}

func TestStates(t *testing.T) {
	b := mach.AppendStates(nil, 0, 1, 2)
	if states, err := mach.ParseStates(b, 3); err != nil || !slices.Equal(states, []int32{0, 1, 2}) {
		t.Errorf("%v, %v", states, err)
	}
	_, err := mach.ParseStates(b, 1<<30)
	wantBadArguments(t, "another count", err)
}

func TestPorts(t *testing.T) {
	b := mach.AppendPorts(nil, 2, mach.Null, 3, mach.Dead)
	if ports, err := mach.ParsePorts(b, 4, 2, 3); err != nil || !slices.Equal(ports, []mach.Fd{2, 0, 3, mach.Dead}) {
		t.Errorf("%v, %v", ports, err)
	}
	for what, c := range map[string]struct{ count, first, last mach.Fd }{
		"another count": {3, 2, 3}, "one too many": {4, 2, 4}, "one too few": {4, 2, 2}, "another first": {4, 1, 3},
	} {
		_, err := mach.ParsePorts(b, uint32(c.count), c.first, c.last)
		wantBadArguments(t, what, err)
	}
	if ports, err := mach.ParsePorts(nil, 0, 2, 1); err != nil || len(ports) != 0 {
		t.Errorf("%v, %v", ports, err)
	}
}

// TestBootstrapRequests are requests on a bootstrap port: with a reply right of their own, and without.
func TestBootstrapRequests(t *testing.T) {
	register := example(mach.Register)
	plain, _ := register.Append(nil)
	register.Right.Fd = 2
	withReply, _ := register.Append(nil)
	register.Token = 0
	register.Right.Fd = 1
	silent, _ := register.Append(nil)
	lookUp, _ := example(mach.LookUp).Append(nil)
	unknown := mach.Message{Header: mach.Header{Local: 9, ID: 12345}}.Append(nil)
	for name, c := range map[string]struct {
		packet  []byte
		fds     int
		ok      bool
		replies bool
	}{
		"reply on the port":        {plain, 1, true, false},
		"right of its own":         {withReply, 2, true, true},
		"positions from 1":         {plain, 2, false, false},
		"positions from 2":         {withReply, 1, false, false},
		"no reply":                 {silent, 1, true, false},
		"look-up":                  {lookUp, 0, true, false},
		"look-up and right":        {lookUp, 1, true, true},
		"look-up and two":          {lookUp, 2, false, false},
		"unknown, with a right":    {unknown, 1, false, true},
		"unknown, without a right": {unknown, 0, false, false},
		"nothing":                  {nil, 0, false, false},
	} {
		r, replies, err := mach.ParseBootstrapRequest(c.packet, c.fds)
		if (err == nil) != c.ok || replies != c.replies {
			t.Errorf("%s: %+v, %t, %v", name, r, replies, err)
		}
	}
}

func TestRoutineNames(t *testing.T) {
	for _, c := range []struct {
		id   int32
		size int
		want string
	}{
		{404, 160, "look_up (canonical)"}, {404, 188, "look_up3 (canonical)"}, {402, 168, "check_in2 (canonical)"}, {403, 184, "register2 (canonical)"}, {404, 172, "look_up2 (canonical)"}, {404, 24, "parent (seed)"}, {702, 60, "spawn (custom)"},
		{710, 40, "connect (custom)"}, {711, 64, "notify (custom)"}, {407, 40, "post_fork_ping (canonical)"},
		{72, 36, "dead name"}, {71, 24, "send-once died"}, {404, 25, ""}, {702, 20, ""}, {0, 0, ""}, {66, 36, ""}, {5000, 36, ""},
	} {
		if got := mach.RoutineName(c.id, c.size); got != c.want {
			t.Errorf("%d of %d bytes is %q, want %q", c.id, c.size, got, c.want)
		}
	}
}

func FuzzParseBootstrapRequest(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, packet []byte, fds uint8) {
		req, replies, err := mach.ParseBootstrapRequest(packet, int(fds))
		if err != nil {
			rejected(t, err)
			return
		}
		if replies != (req.Token != 0 && int(fds) == 1+fdsOf(req)) {
			t.Fatalf("%+v with %d file descriptors: replies is %t", req, fds, replies)
		}
		if _, err := req.Append(nil); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzLists(f *testing.F) {
	f.Add(mach.AppendNames(nil, "a", "b"), uint32(2))
	f.Add(mach.AppendPorts(nil, 2, 0, 3), uint32(3))
	f.Fuzz(func(t *testing.T, b []byte, count uint32) {
		if names, err := mach.ParseNames(b, count); err == nil && len(mach.AppendNames(nil, names...)) != len(b) {
			t.Fatal(names)
		}
		if states, err := mach.ParseStates(b, count); err == nil && string(mach.AppendStates(nil, states...)) != string(b) {
			t.Fatal(states)
		}
		if ports, err := mach.ParsePorts(b, count, 2, mach.Fd(count)); err == nil && string(mach.AppendPorts(nil, ports...)) != string(b) {
			t.Fatal(ports)
		}
	})
}
