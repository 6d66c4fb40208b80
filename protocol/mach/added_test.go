// SPDX-License-Identifier: Apache-2.0

package mach_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// TestAdded compares the messages that Switchboard adds with their bytes, as docs/mach.md has them.
func TestAdded(t *testing.T) {
	for _, c := range []struct {
		request mach.Request
		want    string
		fds     int
	}{
		{
			mach.Request{Routine: mach.Connect, Right: mach.Right{Fd: 1, Disposition: mach.MoveSend}},
			"13000080 28000000 01000000 00000000 00000000 c6020000" + // header
				"01000000" + // one descriptor
				"01000000 00000000 0000 11 00", // the first, move send
			1,
		},
		{
			mach.Request{
				Routine: mach.Notify, Token: 7, Event: mach.DeadName,
				Right: mach.Right{Fd: 1, Disposition: mach.CopySend}, To: mach.Right{Fd: 2, Disposition: mach.MakeSendOnce},
			},
			"13150080 40000000 01000000 07000000 00000000 c7020000" +
				"02000000" +
				"01000000 00000000 0000 13 00" +
				"02000000 00000000 0000 15 00" +
				"00000000 01000000" + // NDR
				"48000000", // 72
			2,
		},
		{
			mach.Request{
				Routine: mach.Notify, Token: 8, Event: mach.PortDestroyed,
				Right: mach.Right{Fd: 1, Disposition: mach.MoveReceive}, To: mach.Right{Fd: 2, Disposition: mach.CopySend},
			},
			"13150080 40000000 01000000 08000000 00000000 c7020000 02000000" +
				"01000000 00000000 0000 10 00 02000000 00000000 0000 13 00 00000000 01000000 45000000",
			2,
		},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(c.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.request.Append(nil)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v is written as\n%x, %v, want\n%x", c.request.Routine, got, err, want)
		}
		roundTrip(t, c.request, c.fds, mach.ParseRequest)
	}
}
