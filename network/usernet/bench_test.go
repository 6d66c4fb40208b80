// SPDX-License-Identifier: Apache-2.0

package usernet_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/switchboard-ipc/switchboard/network/usernet"
)

var benchSubnet = netip.MustParsePrefix("192.168.77.0/24")

// A network is made and closed.
func BenchmarkNetwork(b *testing.B) {
	for b.Loop() {
		n, err := usernet.New(usernet.Config{Name: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		n.Close()
	}
}

// A guest comes to a network that is there, and goes.
func BenchmarkGuest(b *testing.B) {
	n, err := usernet.New(usernet.Config{Name: "bench", Subnet: benchSubnet})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	for i := 0; b.Loop(); i++ {
		g, end, err := n.Connect(usernet.Stream, usernet.GuestConfig{MAC: usernet.MAC(fmt.Sprint(i % 100))})
		if err != nil {
			b.Fatal(err)
		}
		end.Close()
		g.Close()
	}
}

// Frames from one guest to another, through nothing but the switch.
func BenchmarkFrames(b *testing.B) {
	for _, kind := range kinds {
		b.Run(string(kind), func(b *testing.B) {
			n, err := usernet.New(usernet.Config{Name: "bench", Subnet: benchSubnet})
			if err != nil {
				b.Fatal(err)
			}
			defer n.Close()
			var wires [2]*wire
			var guests [2]*usernet.Guest
			for i := range wires {
				g, end, err := n.Connect(kind, usernet.GuestConfig{MAC: usernet.MAC(fmt.Sprint(i))})
				if err != nil {
					b.Fatal(err)
				}
				guests[i], wires[i] = g, benchWire(b, end, kind)
			}
			at := func(i int) netip.AddrPort { return netip.AddrPortFrom(guests[i].IP(), 9) }
			frame := udpFrame(guests[0].MAC(), guests[1].MAC(), at(0), at(1), make([]byte, 1472))
			done := make(chan int)
			go func() {
				var r io.Reader = wires[1]
				buf, count := make([]byte, 1<<18), 0
				if kind == usernet.Stream {
					r = bufio.NewReaderSize(r, 1<<18)
				}
				for {
					k, err := r.Read(buf)
					if err != nil {
						done <- count
						return
					}
					count += k
				}
			}()
			b.SetBytes(int64(len(frame)))
			for b.Loop() {
				if err := wires[0].send(frame); err != nil {
					b.Fatal(err)
				}
			}
			guests[0].Close()
			b.ReportMetric(float64(guests[1].Traffic().Dropped)/float64(b.N), "dropped/op")
			guests[1].Close()
			wires[0].Close()
			wires[1].Close() // a datagram socket does not see the end
			<-done
		})
	}
}

func benchWire(b *testing.B, end *os.File, kind usernet.Kind) *wire {
	b.Helper()
	conn, err := net.FileConn(end)
	end.Close()
	if err != nil {
		b.Fatal(err)
	}
	return &wire{Conn: conn, stream: kind == usernet.Stream}
}
