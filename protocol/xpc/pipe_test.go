// SPDX-License-Identifier: Apache-2.0

package xpc_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

func TestRequests(t *testing.T) {
	domain := mach.Right{Fd: 1, Disposition: mach.CopySend}
	for _, r := range []xpc.Request{
		{Routine: xpc.GetJobs, Type: xpc.RequestorDomain},
		{Routine: xpc.CheckIn, Type: 7, Handle: 3, Flags: 1, Name: "a"},
		{Routine: xpc.LookUp, Type: 7, LookupHandle: 9, Name: strings.Repeat("n", xpc.MaxName)},
		{Routine: xpc.LookUp, Numbered: true, Name: "a"},
		{Routine: xpc.CheckIn2, Numbered: true, Type: 7, Name: "a", DomainPort: domain},
		{Routine: xpc.LookUp2, Numbered: true, Type: 7, Name: "a", Flags: 4, TargetPID: -1, Instance: [16]byte{1}},
		{Routine: xpc.Attributes, PID: 42},
		{Routine: xpc.Attributes, PID: 42, Name: "a", Type: xpc.PIDDomain},
		{Routine: xpc.List, Numbered: true, Type: xpc.SystemDomain, Legacy: true, DomainPort: domain},
	} {
		r.Token, r.Magic = 8, xpc.MagicOld
		packet, rights, err := r.Message().Append(nil, nil)
		if err != nil {
			t.Errorf("%s: %v", r.Routine, err)
			continue
		}
		m, err := xpc.ParseClientMessage(packet, len(rights), nil)
		if err != nil {
			t.Errorf("%s: %v", r.Routine, err)
			continue
		}
		got, err := xpc.ParseRequest(m)
		if diff := cmp.Diff(r, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", r.Routine, err, diff)
		}
	}
}

// Check-ins of the seed: 164 bytes and the name's, 212 for one of 47 (section 6.1).
func TestCheckInSize(t *testing.T) {
	for n := 1; n < 48; n++ {
		packet, _, err := xpc.Request{Routine: xpc.CheckIn, Name: strings.Repeat("n", n)}.Message().Append(nil, nil)
		if want := 164 + (n+4)&^3; err != nil || len(packet) != want {
			t.Errorf("a name of %d: %d bytes, %v, want %d", n, len(packet), err, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	usual := func(key string, v xpc.Value) xpc.Message {
		m := xpc.Request{Routine: xpc.LookUp, Token: 5, Type: 7, Name: "a"}.Message()
		m.Root.Set(key, v)
		return m
	}
	numbered := func(r xpc.Routine, pairs ...any) xpc.Message {
		return xpc.Message{Kind: xpc.KindRoutine, Routine: r, Token: 5, Root: dict(pairs...)}
	}
	for name, c := range map[string]struct {
		m    xpc.Message
		code xpc.Code // 0: it is none
	}{
		"usual":               {usual("unknown", xpc.Double(0)), 0},
		"number of either":    {usual("handle", xpc.Int64(0)), 0},
		"negative handle":     {usual("handle", xpc.Int64(-1)), 22},
		"type as text":        {usual("type", xpc.String("7")), 22},
		"flags as a bool":     {usual("flags", xpc.Bool(true)), 22},
		"routine as text":     {usual("routine", xpc.String("804")), 22},
		"subsystem as null":   {usual("subsystem", xpc.Null{}), 22},
		"other subsystem":     {usual("subsystem", xpc.Uint64(7)), 120},
		"no routine":          {xpc.Message{Kind: xpc.KindMessage, Root: dict("hi", xpc.String("x"))}, 116},
		"routine too large":   {usual("routine", xpc.Uint64(1<<32+804)), 116},
		"unknown routine":     {usual("routine", xpc.Uint64(900)), 116},
		"name is data":        {usual("name", xpc.Data("a")), 22},
		"empty name":          {usual("name", xpc.String("")), 22},
		"long name":           {usual("name", xpc.String(strings.Repeat("n", 128))), 22},
		"control byte":        {usual("name", xpc.String("a\n")), 22},
		"no name":             {numbered(xpc.LookUp2), 22},
		"name alone":          {numbered(xpc.LookUp2, "name", xpc.String("a")), 0},
		"instance as text":    {numbered(xpc.LookUp2, "name", xpc.String("a"), "instance", xpc.String("")), 22},
		"target as text":      {numbered(xpc.LookUp2, "name", xpc.String("a"), "targetpid", xpc.String("")), 22},
		"domain is a number":  {numbered(xpc.CheckIn2, "name", xpc.String("a"), "domain-port", xpc.Int64(1)), 22},
		"legacy as a number":  {numbered(xpc.List, "legacy", xpc.Int64(1)), 22},
		"pid as text":         {numbered(xpc.Attributes, "pid", xpc.String("1")), 22},
		"attributes' reply's": {numbered(0, "routine", xpc.Uint64(712), "subsystem", xpc.Uint64(3)), 0},
		"attributes' own":     {numbered(0, "routine", xpc.Uint64(712), "subsystem", xpc.Uint64(2)), 0},
		"attributes of jobs":  {numbered(0, "routine", xpc.Uint64(712), "subsystem", xpc.Uint64(7)), 120},
		"jobs of domains":     {numbered(0, "routine", xpc.Uint64(100), "subsystem", xpc.Uint64(3)), 120},
		"attributes named":    {numbered(xpc.Attributes, "name", xpc.String("")), 22},
		"attributes unnamed":  {numbered(xpc.Attributes, "pid", xpc.Uint64(1)), 0},
		"keys beside the id":  {numbered(xpc.List, "routine", xpc.Uint64(804), "subsystem", xpc.Uint64(9)), 0},
		"206 in a dictionary": {usual("routine", xpc.Uint64(206)), 0},
		"a reply":             {xpc.Message{Kind: xpc.KindReply, Token: 5}, 22},
	} {
		r, err := xpc.ParseRequest(c.m)
		var refusal *xpc.Refusal
		switch {
		case err == nil && c.code == 0:
			continue
		case !errors.As(err, &refusal) || refusal.Code != c.code:
			t.Errorf("%s: read as %+v, %v, want %d", name, r, err, c.code)
			continue
		}
		reply := refusal.Reply()
		if code, err := reply.Root.Int("error"); err != nil || code != int64(c.code) || reply.Token != c.m.Token {
			t.Errorf("%s: answered with %+v, %v", name, reply, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	receive, send := mach.Right{Fd: 1, Disposition: mach.MoveReceive}, mach.Right{Fd: 1, Disposition: mach.CopySend}
	for name, c := range map[string]struct {
		routine  xpc.Routine
		numbered bool
		a        xpc.Answer
		keys     string
	}{
		"check-in":  {xpc.CheckIn, false, xpc.Answer{Port: receive}, "subsystem error routine port handle"},
		"look-up":   {xpc.LookUp, false, xpc.Answer{Port: send}, "subsystem error routine handle port"},
		"unknown":   {xpc.LookUp, false, xpc.Answer{Error: xpc.NotFound}, "subsystem error routine"},
		"check-in2": {xpc.CheckIn2, true, xpc.Answer{Port: receive, ReqPID: 4, ExecCount: 1}, "error port req_pid rec_execcnt"},
		"look-up2":  {xpc.LookUp2, true, xpc.Answer{Port: send}, "error port req_pid rec_execcnt"},
		"active":    {xpc.CheckIn2, true, xpc.Answer{Error: 1103, ReqPID: 4}, "error req_pid rec_execcnt"},
		"jobs": {xpc.GetJobs, false, xpc.Answer{Jobs: []xpc.Job{{Label: "a", Services: []string{"b", "c"}}, {Label: "d"}}},
			"subsystem error routine handle response"},
		"no jobs": {xpc.GetJobs, false, xpc.Answer{}, "subsystem error routine handle response"},
		"attributes": {xpc.Attributes, false, xpc.Answer{Attributes: xpc.ServiceInfo{BundleID: "x", PID: 3, Name: "y"}},
			"subsystem error routine handle attrs"},
		"list":       {xpc.List, true, xpc.Answer{Services: []xpc.Listed{{Label: "a", PID: 3, Status: -9}}}, "services"},
		"no list":    {xpc.List, true, xpc.Answer{Error: xpc.NoSuchDomain}, "error"},
		"older list": {xpc.List, false, xpc.Answer{}, "subsystem error routine services"},
	} {
		reply := xpc.Request{Routine: c.routine, Numbered: c.numbered, Token: 6, Magic: xpc.MagicOld}.Reply(c.a)
		var keys []string
		for _, e := range reply.Root {
			keys = append(keys, e.Key)
		}
		if got := strings.Join(keys, " "); got != c.keys {
			t.Errorf("%s: keys are %s, want %s", name, got, c.keys)
		}
		packet, rights, err := reply.Append(nil, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		m, err := xpc.ParseMessage(packet, len(rights), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := xpc.ParseAnswer(c.routine, m)
		if diff := cmp.Diff(c.a, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

func TestBadAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		routine xpc.Routine
		root    xpc.Dict
	}{
		"error is text":     {xpc.LookUp, dict("error", xpc.String("2"))},
		"no port":           {xpc.LookUp, dict("error", xpc.Int64(0))},
		"port of the other": {xpc.CheckIn, dict("port", xpc.MachSend{})},
		"no response":       {xpc.GetJobs, dict("error", xpc.Int64(0))},
		"job is a number":   {xpc.GetJobs, dict("response", dict("a", xpc.Int64(1)))},
		"label is a number": {xpc.GetJobs, dict("response", dict("a", dict("Label", xpc.Int64(1))))},
		"no attrs":          {xpc.Attributes, xpc.Dict{}},
		"services is text":  {xpc.List, dict("services", xpc.String(""))},
		"status is text":    {xpc.List, dict("services", dict("a", dict("status", xpc.String(""))))},
	} {
		a, err := xpc.ParseAnswer(c.routine, xpc.Message{Kind: xpc.KindReply, Token: 1, Root: c.root})
		var refusal *xpc.Refusal
		if !errors.As(err, &refusal) || refusal.Code != xpc.BadResponse {
			t.Errorf("%s: read as %+v, %v", name, a, err)
		}
	}
	if _, err := xpc.ParseAnswer(xpc.LookUp, xpc.Message{Kind: xpc.KindMessage}); err == nil {
		t.Error("a request is an answer")
	}
}

// Codes in both directions (sections 6.3 and 8).
func TestCodes(t *testing.T) {
	for bootstrap, errno := range map[mach.Code]xpc.Code{0: 0, 1100: 1, 1101: 17, 1102: 2, 1103: 16, 1105: 12} {
		if got := xpc.Errno(bootstrap); got != errno {
			t.Errorf("%d is errno %d, want %d", bootstrap, got, errno)
		}
		if got := errno.Bootstrap(); got != bootstrap {
			t.Errorf("errno %d is %d, want %d", errno, got, bootstrap)
		}
		if got := xpc.Code(bootstrap).Bootstrap(); got != bootstrap {
			t.Errorf("%d is %d", bootstrap, got)
		}
		if xpc.LookUp.Code(bootstrap) != errno || xpc.LookUp2.Code(bootstrap) != xpc.Code(bootstrap) {
			t.Errorf("%d differs by routine", bootstrap)
		}
	}
	for code, want := range map[xpc.Code]mach.Code{113: 1102, 22: 1102, 5: 1102, 1104: 1104, 1106: 1106, -303: 1102} {
		if got := code.Bootstrap(); got != want {
			t.Errorf("%d is %d, want %d", code, got, want)
		}
	}
	for code, want := range map[mach.Code]xpc.Code{-303: 116, -304: 22, -300: 22, 46: 116, 17: 5, 5: 5, 4: 22, 1104: 22, -308: 5} {
		if got := xpc.Errno(code); got != want {
			t.Errorf("%d is errno %d, want %d", code, got, want)
		}
	}
	if s := xpc.Code(1102).String(); s != mach.UnknownService.String() {
		t.Error(s)
	}
	if s := xpc.Code(4711).String(); s != "code 4711" {
		t.Error(s)
	}
}
