// SPDX-License-Identifier: Apache-2.0

package usernet_test

import (
	"encoding/binary"
	"io"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/network/usernet"
)

// Who does not read loses its frames, and others go on.
func TestGuestThatDoesNotRead(t *testing.T) {
	n := newNetwork(t, nil)
	deaf, end, err := n.Connect(usernet.Stream, usernet.GuestConfig{MAC: usernet.MAC("deaf")})
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	a, b := newMachine(t, n, usernet.Stream, "a"), newMachine(t, n, usernet.Stream, "b")
	b.serveTCP(t, 80)
	frame := udpFrame(a.MAC(), deaf.MAC(), a.at(1), netip.AddrPortFrom(deaf.IP(), 1), make([]byte, 1400))
	for range 5000 {
		if err := a.wire.send(frame); err != nil {
			t.Fatal(err)
		}
	}
	c, err := a.dial(t, b.at(80))
	if err != nil {
		t.Fatal(err)
	}
	checkStream(t, c)
	if deaf.Traffic().Dropped == 0 {
		t.Errorf("%+v", deaf.Traffic())
	}
	deaf.Close()
}

// Who hangs up has done nothing wrong, whether something is on its way to it or lies unread.
func TestGuestHangsUp(t *testing.T) {
	n := newNetwork(t, nil)
	m := newMachine(t, n, usernet.Stream, "m")
	frame := udpFrame(m.MAC(), everybody, m.at(1), netip.MustParseAddrPort("255.255.255.255:9"), make([]byte, 1000))
	for _, kind := range kinds {
		for i := range 20 {
			g, end, err := n.Connect(kind, usernet.GuestConfig{MAC: usernet.MAC("a")})
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				m.wire.send(frame)
			}
			if i%2 == 0 {
				if _, err := end.Read(make([]byte, 1)); err != nil { // the rest lies there
					t.Fatal(err)
				}
			}
			end.Close()
			for gone := false; !gone; {
				m.wire.send(frame) // the end of a datagram socket does not show otherwise
				select {
				case <-g.Done():
					gone = true
				case <-time.After(time.Millisecond):
				}
			}
			if err := g.Err(); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
	}
}

// A stream that is not frames ends the guest, who is told why; a datagram socket's end shows when something is sent.
func TestGuestFaults(t *testing.T) {
	n := newNetwork(t, nil)
	for _, size := range []uint32{0, 1 << 31, 70000} {
		g, end, err := n.Connect(usernet.Stream, usernet.GuestConfig{MAC: usernet.MAC("a")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := end.Write(binary.BigEndian.AppendUint32(nil, size)); err != nil {
			t.Fatal(err)
		}
		<-g.Done()
		if g.Err() == nil {
			t.Errorf("a frame of %d bytes is no fault", size)
		}
		if _, err := end.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the guest's interface goes on: %v", err)
		}
		end.Close()
	}
	g, end, err := n.Connect(usernet.Datagram, usernet.GuestConfig{MAC: usernet.MAC("a")})
	if err != nil {
		t.Fatal(err)
	}
	end.Close()
	m := newMachine(t, n, usernet.Stream, "b")
	m.wire.send(udpFrame(m.MAC(), everybody, m.at(1), netip.MustParseAddrPort("255.255.255.255:9"), nil))
	select {
	case <-g.Done():
	case <-time.After(patience):
		t.Error("the end of a datagram socket does not show")
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Attach(file, usernet.GuestConfig{MAC: usernet.MAC("c")}); err == nil {
		t.Error("a file was attached")
	}
}
