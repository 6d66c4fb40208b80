// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// TestAnswerInTheSameMoment: an answer that has come when its request is given up is closed with the descriptors in it.
func TestAnswerInTheSameMoment(t *testing.T) {
	t.Parallel()
	port, service, err := sys.PortPair()
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	defer service.Close()
	n, err := shakeHands(context.Background(), service)
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	b := largePackets.Get().(*sys.Buffer)
	defer largePackets.Put(b)
	size, err := b.Recv(port.Int())
	if err != nil || len(b.FDs) != 2 {
		t.Fatalf("the handshake has %d bytes and %d descriptors (%v)", size, len(b.FDs), err)
	}
	defer b.Message.Close()

	token, waiting, err := n.begin()
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs, err := sys.Pair(sys.Stream)
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	packet, _, err := xpc.Message{Kind: xpc.KindReply, Token: token, Root: vmnet.ConnectionReply()}.Append(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sys.Send(b.FDs[1], packet, theirs.Int()); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	for len(waiting) == 0 {
		time.Sleep(time.Millisecond)
	}
	answer := n.forget(token, waiting)
	if answer == nil {
		t.Fatal("the answer is lost, and what came with it open")
	}
	answer.close()
	for !sys.HungUp(mine.Int()) { // what another test forks has a copy until it execs
		time.Sleep(time.Millisecond)
	}
}

// TestSendBesideOneThatEnds: a packet is sent though another sender's context ends in the same moment.
func TestSendBesideOneThatEnds(t *testing.T) {
	t.Parallel()
	ours, theirs, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		t.Fatal(err)
	}
	end, err := newPacketEnd(ours, "ours")
	if err != nil {
		t.Fatal(err)
	}
	defer end.close()
	other, err := newPacketEnd(theirs, "theirs")
	if err != nil {
		t.Fatal(err)
	}
	const each = 2000
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		b := sys.NewBuffer(16)
		for {
			if _, err := other.receive(context.Background(), b); err != nil {
				return
			}
		}
	})
	defer other.close()
	over, cancel := context.WithCancel(context.Background())
	cancel()
	var sending sync.WaitGroup
	defer sending.Wait()
	for range 2 {
		sending.Go(func() {
			for range each {
				if err := end.send(over, []byte("x")); err != nil && err != context.Canceled {
					t.Errorf("with a context that has ended: %v", err)
					return
				}
			}
		})
	}
	for range each {
		if err := end.send(context.Background(), []byte("x")); err != nil {
			t.Fatalf("with one that has not: %v", err)
		}
	}
}
