// SPDX-License-Identifier: Apache-2.0

package usernet

// Traffic counts Ethernet frames and their bytes.
type Traffic struct {
	FramesIn, BytesIn   uint64 // from guests
	FramesOut, BytesOut uint64 // to guests
	Dropped             uint64 // for guests that did not read
	Refused             uint64 // from guests: too long, too short, or under another's address
}

func (t *Traffic) add(u Traffic) {
	t.FramesIn += u.FramesIn
	t.BytesIn += u.BytesIn
	t.FramesOut += u.FramesOut
	t.BytesOut += u.BytesOut
	t.Dropped += u.Dropped
	t.Refused += u.Refused
}

// Traffic returns what the guest has sent and got.
func (g *Guest) Traffic() Traffic {
	p := g.port
	return Traffic{
		FramesIn: p.framesIn.Load(), BytesIn: p.bytesIn.Load(), FramesOut: p.framesOut.Load(), BytesOut: p.bytesOut.Load(),
		Dropped: p.dropped.Load(), Refused: p.refused.Load(),
	}
}

// Flows counts connections, or exchanges of datagrams, through the gateway to the host or outside.
type Flows struct {
	Now     int64 // going on
	All     int64 // since the network began
	Refused int64 // not allowed, too many, or not to be reached
}

func (f *flowCount) count() Flows { return Flows{f.now.Load(), f.all.Load(), f.refused.Load()} }

func (f *flowCount) begin() func() {
	f.now.Add(1)
	f.all.Add(1)
	return func() { f.now.Add(-1) }
}

// Stats are a network's figures, since it began.
type Stats struct {
	Guests int // attached
	Traffic
	TCP, UDP Flows
}

// Stats returns the network's figures.
func (n *Network) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := Stats{Guests: len(n.guests), Traffic: n.gone, TCP: n.tcp.count(), UDP: n.udp.count()}
	for g := range n.guests {
		s.add(g.Traffic())
	}
	return s
}
