// SPDX-License-Identifier: Apache-2.0

package mach_test

import (
	"errors"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// example is a request with something in every field that routine r has.
func example(r mach.Routine) mach.Request {
	req := mach.Request{Routine: r, Token: 7}
	switch r.Op() {
	case mach.OpCheckIn, mach.OpLookUp, mach.OpStatus, mach.OpCreateService:
		req.Service = "com.example.echo"
	case mach.OpRegister:
		req.Service, req.Right = "com.example.echo", mach.Right{Fd: 1, Disposition: mach.CopySend}
	case mach.OpSubset:
		req.Right = mach.Right{Fd: 1, Disposition: mach.MakeSend}
	case mach.OpConnect:
		req.Right = mach.Right{Fd: 1, Disposition: mach.MoveSend}
	case mach.OpNotify:
		req.Event, req.Right = mach.DeadName, mach.Right{Fd: 1, Disposition: mach.CopySend}
		req.To = mach.Right{Fd: 2, Disposition: mach.MakeSendOnce}
	case mach.OpLookUpArray:
		req.Names, req.Count = mach.Memory{Fd: 1, Length: 2 * mach.NameSize, Copy: 1}, 2
	case mach.OpSpawn:
		req.Launch = mach.Launch{Flags: 1, Path: "/bin/true", Args: []string{"true", ""}, Env: []string{"A=1"}}
	case mach.OpCreateServer:
		req.Command, req.UID, req.OnDemand = "/bin/true -x", 1000, true
	case mach.OpSendSignal:
		req.Label, req.Signal = "com.example.job", 15
	case mach.OpKickstart:
		req.Label, req.Flags = "com.example.job", 3
	case mach.OpReboot:
		req.Flags = 1 << 40
	}
	switch r {
	case mach.CheckIn2, mach.Register2, mach.Info2:
		req.Flags = mach.StrictCheckIn
	case mach.LookUp2:
		req.PID, req.Flags = -5, mach.PerPID
	case mach.LookUp3:
		req.PID, req.Flags, req.UUID = 5, mach.SpecificInstance, [16]byte{1, 15: 16}
	}
	return req
}

func fdsOf(req mach.Request) int {
	n := 0
	for _, fd := range []mach.Fd{req.Right.Fd, req.To.Fd, req.Names.Fd} {
		if fd.Carried() {
			n++
		}
	}
	return n
}

// TestEveryRoutine writes and reads each, and its reply, and sees that no two are
// alike on the wire (section 2.4).
func TestEveryRoutine(t *testing.T) {
	type key struct {
		id   int32
		size int
	}
	seen := make(map[key]mach.Routine)
	for r := mach.SeedCheckIn; r <= mach.Notify; r++ {
		t.Run(r.String(), func(t *testing.T) {
			k := key{r.ID(), r.Size()}
			if other, ok := seen[k]; ok || k.id == 0 {
				t.Fatalf("%v is %v as well", k, other)
			}
			seen[k] = r
			req := example(r)
			roundTrip(t, req, fdsOf(req), mach.ParseRequest)
			packet, _ := req.Append(nil)
			if r != mach.Spawn && len(packet) != r.Size() {
				t.Errorf("%d bytes, want %d", len(packet), r.Size())
			}
			for fds := range 3 {
				if _, err := mach.ParseRequest(packet, fds); (err == nil) != (fds == fdsOf(req)) {
					t.Errorf("with %d descriptors: %v", fds, err)
				}
			}
			granted := req.Granted()
			if granted.Shape == mach.PathReply || granted.ID != r.ID()+100 || granted.Token != 7 {
				t.Errorf("granted with %+v", granted)
			}
			roundTrip(t, req.Refused(mach.NotPrivileged), 0, mach.ParseReply)
		})
	}
}

// TestRefusedRequests are rules of section 4 that no vector has.
func TestRefusedRequests(t *testing.T) {
	put := func(r mach.Routine, at int, b ...byte) []byte {
		packet, err := example(r).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		copy(packet[at:], b)
		return packet
	}
	for name, c := range map[string]struct {
		packet []byte
		fds    int
		code   mach.Code
	}{
		"seed NUL before name_len":   {put(mach.SeedLookUp, 38, 0), 0, mach.BadArguments},
		"empty name":                 {put(mach.LookUp, 32, 0), 0, mach.BadArguments},
		"delete in name":             {put(mach.LookUp, 33, 0x7f), 0, mach.BadArguments},
		"memory where a port is due": {put(mach.Register, 32, 0, 0, 0, 0, 0, 0, 0, 1), 1, mach.TypeError},
		"unknown kind":               {put(mach.Register, 39, 9), 1, mach.TypeError},
		"send-once":                  {put(mach.Subset, 38, 18), 1, mach.TypeError},
		"char representation":        {put(mach.LookUp, 29, 1), 0, mach.BadArguments},
		"407 as post_fork_ping":      {put(mach.Subset, 20, 0x97), 1, mach.BadID},
		"407 without its right":      {put(mach.Info2, 20, 0x97), 0, mach.BadID},
		"unserved: no label":         {put(mach.SendSignal, 32, 0), 0, mach.NotPrivileged},
		"unserved: NDR":              {put(mach.CreateServer, 28, 0), 0, mach.NotPrivileged},
		"unserved: another size":     {put(mach.Parent, 20, 0xa7), 0, mach.BadArguments},
		"412":                        {put(mach.Parent, 20, 0x9c), 0, mach.BadID},
		"435":                        {put(mach.Parent, 20, 0xb3), 0, mach.BadID},
		"status of 24 bytes":         {put(mach.Parent, 20, 0x97), 0, mach.BadArguments},
		"connect with a copy":        {put(mach.Connect, 38, 19), 1, mach.TypeError},
		"notify of nothing":          {put(mach.Notify, 60, 71), 2, mach.BadArguments},
		"notify with another size":   {put(mach.Subset, 20, 0xc7, 2), 1, mach.BadArguments},
		"no senders of the receiver": {put(mach.Notify, 38, 16), 2, mach.TypeError},
		"destroyed send right":       {put(mach.Notify, 60, 69), 2, mach.TypeError},
		"told where one receives":    {put(mach.Notify, 50, 16), 2, mach.TypeError},
		"spawn: argc":                {put(mach.Spawn, 36, 9), 0, mach.InvalidArgument},
		"spawn: byte count":          {put(mach.Spawn, 40, 9), 0, mach.InvalidArgument},
		"spawn: huge byte count":     {put(mach.Spawn, 40, 255, 255, 255, 255), 0, mach.InvalidArgument},
		"spawn: no path":             {put(mach.Spawn, 44, 0), 0, mach.InvalidArgument},
	} {
		_, err := mach.ParseRequest(c.packet, c.fds)
		var fault *mach.Fault
		if !errors.As(err, &fault) || fault.Code != c.code {
			t.Errorf("%s: %v, want %v", name, err, c.code)
		}
	}
}

// TestCannotWrite are requests with fields that have no place on the wire.
func TestCannotWrite(t *testing.T) {
	long := string(make([]byte, mach.NameSize))
	for name, change := range map[string]func(*mach.Request){
		"no routine":  func(r *mach.Request) { r.Routine = 0 },
		"after all":   func(r *mach.Request) { r.Routine = mach.Notify + 1 },
		"far off":     func(r *mach.Request) { r.Routine = 255 },
		"no name":     func(r *mach.Request) { r.Service = "" },
		"NUL":         func(r *mach.Request) { r.Service = "a\x00b" },
		"long name":   func(r *mach.Request) { r.Service = long },
		"disposition": func(r *mach.Request) { r.Right.Disposition = mach.MoveReceive },
	} {
		req := example(mach.Register)
		change(&req)
		if b, err := req.Append([]byte("kept")); err == nil || string(b) != "kept" {
			t.Errorf("%s: written as %q, %v", name, b, err)
		}
	}
}

// TestUnserved are the codes of what is understood but has no implementation.
func TestUnserved(t *testing.T) {
	want := map[mach.Routine]mach.Code{
		mach.Reboot2: mach.NotPrivileged, mach.SendSignal: mach.NotPrivileged, mach.Kickstart: mach.NotPrivileged,
		mach.CreateServer: mach.NotPrivileged, mach.TakeSubset: mach.NotSupported,
	}
	for r := mach.SeedCheckIn; r <= mach.Notify; r++ {
		if got := r.Op().Unserved(); got != want[r] {
			t.Errorf("%v: %v, want %v", r, got, want[r])
		}
	}
}
