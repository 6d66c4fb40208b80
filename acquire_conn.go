// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// networkConn is an XPC connection to the network service: two pairs, of which one takes what we send, and the other has what the service
// sends. It ends when either hangs up.
type networkConn struct {
	out, in *packetEnd
	done    chan struct{}    // closed when it has ended, and nothing is read any more
	events  chan vmnet.Event // of forwards
	patient time.Duration    // how long to wait for an answer without a deadline

	mu      sync.Mutex // guards what follows
	last    uint32     // token
	pending map[uint32]chan *networkAnswer
	over    error // why there will be no more answers, or nil
	stopped bool  // the service said that it ends
	lasting bool  // others have its descriptors
}

// networkAnswer is a reply with its descriptors.
type networkAnswer struct {
	root xpc.Dict
	fds  []int
	err  error
}

// close closes the descriptors that nobody took.
func (a *networkAnswer) close() {
	sys.CloseAll(a.fds)
	a.fds = nil
}

// take returns a descriptor, and leaves it to the caller.
func (a *networkAnswer) take(at mach.Fd) (*sys.FD, error) {
	if !at.Carried() || int(at) > len(a.fds) || a.fds[at-1] < 0 {
		return nil, errors.New("it has no descriptor")
	}
	fd := sys.NewFD(a.fds[at-1])
	a.fds[at-1] = -1
	return fd, nil
}

// shakeHands makes a connection through a send right to the service's port, which stays the caller's. It does not wait for the service.
func shakeHands(ctx context.Context, port *sys.FD) (*networkConn, error) {
	out, theirIn, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	defer theirIn.Close()
	in, theirOut, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	defer theirOut.Close()
	// The service asks for the credentials of each message; what is sent before it does has them already.
	if err := sys.SetPassCred(theirIn.Int(), true); err != nil {
		return nil, err
	}
	hello := xpc.Message{Kind: xpc.KindHandshake, Rights: []mach.Right{
		{Fd: mach.Fd(theirIn.Int()), Disposition: mach.MoveReceive}, {Fd: mach.Fd(theirOut.Int()), Disposition: mach.MakeSend}}}
	packet, _, err := hello.Append(nil, nil)
	if err != nil {
		return nil, err
	}
	if err := sendThrough(ctx, port.Int(), packet, theirIn.Int(), theirOut.Int()); err != nil {
		return nil, err
	}
	n := &networkConn{done: make(chan struct{}), pending: make(map[uint32]chan *networkAnswer), events: make(chan vmnet.Event, 64)}
	if n.out, err = newPacketEnd(out, "requests to the network service"); err != nil {
		return nil, err
	}
	if n.in, err = newPacketEnd(in, "answers of the network service"); err != nil {
		n.out.close()
		return nil, err
	}
	go n.read()
	return n, nil
}

// read reads what the service sends, until the connection ends.
func (n *networkConn) read() {
	defer close(n.done)
	b := largePackets.Get().(*sys.Buffer)
	defer largePackets.Put(b)
	for {
		packet, err := n.in.receive(context.Background(), b)
		if err != nil {
			n.end(err)
			return
		}
		n.receive(packet, b)
		b.Message.Close()
	}
}

// receive passes one message to whom it is for.
func (n *networkConn) receive(packet []byte, b *sys.Buffer) {
	m, err := xpc.ParseMessage(packet, len(b.FDs), nil)
	var fault *xpc.Fault
	switch {
	case errors.As(err, &fault):
		m.Kind, m.Token = xpc.KindReply, fault.Token // which nobody may wait for
	case err != nil:
		n.end(&networkFault{NetworkInvalidReply, err})
		return
	case m.Kind == xpc.KindMessage:
		n.event(m.Root)
		return
	case m.Kind != xpc.KindReply:
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	waiting := n.pending[m.Token]
	if waiting == nil {
		return
	}
	delete(n.pending, m.Token)
	answer := &networkAnswer{root: m.Root, err: err}
	if err == nil {
		answer.fds = append([]int(nil), b.FDs...)
		b.FDs = b.FDs[:0]
	}
	waiting <- answer
}

// ask sends a request and waits for its answer, which has no error in it.
func (n *networkConn) ask(ctx context.Context, request vmnet.Request) (*networkAnswer, error) {
	if _, ok := ctx.Deadline(); !ok {
		patience := n.patient
		if request.Command == vmnet.Dial {
			patience += guestPatience
		}
		limited, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		answer, err := n.ask(limited, request)
		if err == context.DeadlineExceeded && ctx.Err() == nil {
			return nil, &Error{Code: CodeTryAgain, Err: err, Text: silentService(patience)}
		}
		return answer, err
	}
	token, waiting, err := n.begin()
	if err != nil {
		return nil, err
	}
	packet, _, err := xpc.Message{Kind: xpc.KindMessage, Token: token, Root: request.Dict()}.Append(nil, nil)
	if err != nil {
		n.forget(token, waiting)
		return nil, &Error{Code: CodeUsage, Text: err.Error(), Err: err}
	}
	if err := n.out.send(ctx, packet); err != nil {
		n.forget(token, waiting)
		return nil, n.failed(err)
	}
	select {
	case answer, ok := <-waiting:
		switch {
		case !ok:
			return nil, n.whyOver()
		case answer.err != nil:
			return nil, &networkFault{NetworkInvalidReply, answer.err}
		case answer.root.Has("error"):
			answer.close()
			return nil, refusedNetwork(answer.root)
		}
		return answer, nil
	case <-ctx.Done():
		if answer := n.forget(token, waiting); answer != nil {
			answer.close()
		}
		return nil, ctx.Err()
	}
}

// refusedNetwork is the error of an answer that has one.
func refusedNetwork(root xpc.Dict) error {
	code, err := root.Int("error")
	if err != nil || code == 0 {
		return &networkFault{NetworkInvalidReply, err}
	}
	fault := &networkFault{code: NetworkCode(code)}
	if reason, err := root.String("reason"); err == nil && reason != "" {
		fault.err = errors.New(reason)
	}
	return fault
}

// failed says why a request failed: the end of the connection, if that is known, goes before how a write noticed it.
func (n *networkConn) failed(err error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.over != nil:
		return n.over
	case err == errHungUp:
		return n.goneLocked()
	}
	return err
}

// begin makes a request known, so that its answer finds it. The channel is closed without one if there will be none.
func (n *networkConn) begin() (token uint32, waiting chan *networkAnswer, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over != nil {
		return 0, nil, n.over
	}
	for token == 0 || n.pending[token] != nil {
		n.last++
		token = n.last
	}
	waiting = make(chan *networkAnswer, 1)
	n.pending[token] = waiting
	return token, waiting, nil
}

// forget gives up a request. It returns the answer if there is one by now.
func (n *networkConn) forget(token uint32, waiting chan *networkAnswer) *networkAnswer {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pending[token] == waiting { // else it is answered, and the token perhaps another's
		delete(n.pending, token)
	}
	select {
	case answer := <-waiting:
		return answer
	default:
		return nil
	}
}

// end fails all requests, now and later.
func (n *networkConn) end(why error) {
	n.mu.Lock()
	if n.over != nil {
		n.mu.Unlock()
		return
	}
	if errors.Is(why, errHungUp) {
		why = n.goneLocked()
	}
	n.over = why
	lasting := n.lasting
	pending := n.pending
	n.pending = nil
	n.mu.Unlock()
	if lasting { // the others' as well
		n.out.shutDown()
		n.in.shutDown()
	}
	n.out.close()
	n.in.close()
	for _, waiting := range pending {
		close(waiting)
	}
}

// goneLocked is why the service has hung up.
func (n *networkConn) goneLocked() error {
	if n.stopped {
		return errServiceStopped
	}
	return errServiceEnded
}

func (n *networkConn) whyOver() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.over
}

// close ends the connection, and with it all leases that it has.
func (n *networkConn) close() {
	n.end(errClosed)
	<-n.done
}

// release gives a lease back and waits until the service has heard, within releaseTimeout. One without extensions hears the end of the connection.
func (n *networkConn) release(lease uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if answer, err := n.ask(ctx, vmnet.Request{Command: vmnet.Release, Version: vmnet.Version, Lease: lease}); err == nil {
		answer.close()
	}
}
