// SPDX-License-Identifier: Apache-2.0

//go:build linux

package runningprocess

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// TestBrokenHandoff has brokers that do not keep to the protocol: they are hung up on, and nothing stays open.
func TestBrokenHandoff(t *testing.T) {
	t.Cleanup(noLeak(t))
	p := newPaths(t)
	l := p.listen(t)
	go serve(l)
	token := tokenOf(1)
	good := offerOf(1).Frame()
	with := func(change func(*envelope.Frame)) []byte {
		f := good
		change(&f)
		return f.AppendFramed(nil)
	}
	for name, c := range map[string]struct {
		token []byte
		fds   int
		then  []byte
	}{
		"no descriptor":   {token[:], 0, good.AppendFramed(nil)},
		"two":             {token[:], 2, good.AppendFramed(nil)},
		"most":            {token[:], 253, good.AppendFramed(nil)},
		"short token":     {token[:15], 1, nil},
		"nothing":         {nil, 0, nil},
		"no offer":        {token[:], 1, nil},
		"half an offer":   {token[:], 1, good.AppendFramed(nil)[:20]},
		"no frame":        {token[:], 1, []byte("GET / HTTP/1.1")},
		"too long":        {token[:], 1, []byte{1, 1, 0, 1, 0}},
		"other protocol":  {token[:], 1, with(func(f *envelope.Frame) { f.PayloadProtocol = envelope.Control })},
		"other kind":      {token[:], 1, with(func(f *envelope.Frame) { f.Kind = envelope.Event })},
		"other version":   {token[:], 1, with(func(f *envelope.Frame) { f.EnvelopeVersion = 2 })},
		"compressed":      {token[:], 1, with(func(f *envelope.Frame) { f.PayloadEncoding = envelope.LZ4 })},
		"other id":        {token[:], 1, with(func(f *envelope.Frame) { f.RequestID++ })},
		"broken offer":    {token[:], 1, with(func(f *envelope.Frame) { f.Payload = []byte{0x12, 0xff} })},
		"framed at first": {good.AppendFramed(nil)[:16], 0, good.AppendFramed(nil)[16:]},
	} {
		t.Log(name)
		broker := dialTest(t, p.handoff)
		client, end := pair(t)
		fds := make([]int, 0, c.fds)
		for range c.fds {
			fd, err := syscall.Dup(end)
			if err != nil {
				t.Fatal(err)
			}
			fds = append(fds, fd)
		}
		syscall.Close(end)
		if c.token != nil {
			pass(t, broker, c.token, fds...)
		}
		_, _ = broker.Write(c.then)
		_ = broker.CloseWrite()
		closedBy(t, broker)
		closedBy(t, client)
		broker.Close()
		client.Close()
	}
	l.Close()
}

// TestTokenInPieces sends the token in two writes, the descriptor with the second.
func TestTokenInPieces(t *testing.T) {
	p := newPaths(t)
	go serve(p.listen(t))
	broker := dialTest(t, p.handoff)
	client, end := pair(t)
	token := tokenOf(1)
	pass(t, broker, token[:5])
	time.Sleep(10 * time.Millisecond)
	pass(t, broker, token[5:], end)
	if err := WriteFrame(broker, offerOf(1).Frame()); err != nil {
		t.Fatal(err)
	}
	f, err := ReadFrame(broker, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := envelope.CheckAck(f, offerOf(1)); err != nil {
		t.Error(err)
	}
	exchange(t, client, "ping")
}

// TestSidebandAndOfferAtOnce writes token and offer before the backend looks: the descriptor belongs to the token.
func TestSidebandAndOfferAtOnce(t *testing.T) {
	p := newPaths(t)
	go serve(p.listen(t))
	broker := dialTest(t, p.handoff)
	var clients []*net.UnixConn
	for n := range 5 {
		client, end := pair(t)
		clients = append(clients, client)
		token := tokenOf(n + 1)
		pass(t, broker, append(token[:], offerOf(n+1).Frame().AppendFramed(nil)...), end)
	}
	for n, client := range clients {
		f, err := ReadFrame(broker, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := envelope.CheckAck(f, offerOf(n+1)); err != nil {
			t.Error(err)
		}
		exchange(t, client, "ping")
	}
}

// TestManyBrokers opens more connections than are kept: the oldest go.
func TestManyBrokers(t *testing.T) {
	p := newPaths(t)
	go serve(p.listen(t))
	first := dialTest(t, p.handoff)
	for range maxBrokers {
		dialTest(t, p.handoff)
	}
	closedBy(t, first)
	client, end := pair(t)
	if err := handOver(t, dialTest(t, p.handoff), 1, end); err != nil {
		t.Error(err)
	}
	client.Close()
}

func TestSpent(t *testing.T) {
	var s spent
	for n := range envelope.TokenLimit {
		if !s.spend(tokenOf(n)) || s.spend(tokenOf(n)) {
			t.Fatalf("token %d", n)
		}
	}
	if s.spend(tokenOf(0)) || !s.spend(tokenOf(5000)) || !s.spend(tokenOf(0)) || s.spend(tokenOf(5000)) || len(s.used) != envelope.TokenLimit {
		t.Errorf("%d are remembered", len(s.used))
	}
}
