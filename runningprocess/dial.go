// SPDX-License-Identifier: Apache-2.0

package runningprocess

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

const (
	roundTrip  = 30 * time.Second // from the Hello to its reply, launch included
	readyTime  = 2 * time.Second  // for the event that ends a handoff (section 10)
	maxReply   = 1 << 20          // bytes of a reply's body
	envTimeout = "RUNNING_PROCESS_BROKER_CLIENT_TIMEOUT_MS"
)

// Request is what a client asks a broker for (section 4.1).
type Request struct {
	Broker        string        // path of its socket; "" is DefaultBroker()
	Service       string        // [a-z0-9-], at most 64 bytes
	Version       string        // of the service, exactly: "1.2.3", "1.2.3-rc.1"
	ClientVersion string        // for the broker's log, at most 128 bytes
	Library       string        // likewise, at most 64 bytes; "" is "switchboard"
	LibVersion    string        // likewise
	Keepalive     time.Duration // in whole seconds; 0: the broker chooses
	AuthToken     []byte        // of brokers that ask for one
	TraceParent   string        // goes to a backend that is launched
	TraceState    string        // likewise
	Reconnect     bool          // always connect to the backend's path; no handoff
}

func (r Request) frame() envelope.Frame {
	hello := envelope.Hello{
		ClientMinProtocol: envelope.Version, ClientMaxProtocol: envelope.Version, ServiceName: r.Service, WantedVersion: r.Version,
		ClientVersion: r.ClientVersion, ClientCapabilities: envelope.HandlePassing, AuthToken: r.AuthToken, RequestID: "hello",
		ClientLibName: r.Library, ClientLibVersion: r.LibVersion, ClientKeepaliveSecs: uint64(max(r.Keepalive, 0) / time.Second),
		// Without a PeerPID: in another pid namespace ours is not the one that the broker sees.
	}
	if r.Library == "" {
		hello.ClientLibName = "switchboard"
	}
	if r.Reconnect {
		hello.ClientCapabilities = 0
	}
	return envelope.Frame{
		EnvelopeVersion: envelope.Version, PayloadProtocol: envelope.Control, Payload: hello.Append(nil), RequestID: 1,
		TraceParent: r.TraceParent, TraceState: r.TraceState,
	}
}

// Dial connects to a backend of a service through a broker, which launches one if
// there is none. The connection is the one to the broker, if the broker handed it
// over within 2 s, and else a new one to the backend. Negotiated is the broker's
// reply.
//
// If ctx has no deadline, the broker has 30 s to answer, or the milliseconds of
// RUNNING_PROCESS_BROKER_CLIENT_TIMEOUT_MS. Nothing is tried twice.
//
// Errors: ErrDisabled, *RefusedError, syscall.ENOENT and ECONNREFUSED (no broker, or
// its backend has gone), and those of ctx and of the connection.
func Dial(ctx context.Context, r Request) (*Conn, envelope.Negotiated, error) {
	var none envelope.Negotiated
	if off, err := DisabledByEnv(); err != nil {
		return nil, none, fmt.Errorf("runningprocess: %w", err)
	} else if off {
		return nil, none, ErrDisabled
	}
	if r.Broker == "" {
		var err error
		if r.Broker, err = DefaultBroker(); err != nil {
			return nil, none, err
		}
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience())
		defer cancel()
	}
	c, negotiated, err := dial(ctx, r)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx) // and not the deadline that it made of the connection
		}
		return nil, negotiated, fmt.Errorf("runningprocess: %s %s: %w", r.Service, r.Version, err)
	}
	return c, negotiated, nil
}

// patience is how long a broker may take.
func patience() time.Duration {
	if ms, err := strconv.ParseUint(os.Getenv(envTimeout), 10, 32); err == nil && ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return roundTrip
}

func dial(ctx context.Context, r Request) (*Conn, envelope.Negotiated, error) {
	socket, err := connect(ctx, r.Broker)
	if err != nil {
		return nil, envelope.Negotiated{}, fmt.Errorf("cannot connect to the broker at %s: %w", r.Broker, err)
	}
	if err := checkPeer(socket); err != nil {
		socket.Close()
		return nil, envelope.Negotiated{}, fmt.Errorf("not the broker at %s: %w", r.Broker, err)
	}
	negotiated, err := ask(ctx, socket, r.frame())
	if err != nil {
		socket.Close()
		return nil, envelope.Negotiated{}, err
	}
	if adopted(ctx, socket, negotiated, r) {
		return &Conn{socket: socket, handed: true}, negotiated, nil
	}
	socket.Close()
	socket, err = connect(ctx, negotiated.BackendPipe)
	if err != nil {
		return nil, negotiated, fmt.Errorf("cannot connect to the backend at %s: %w", negotiated.BackendPipe, err)
	}
	return &Conn{socket: socket}, negotiated, nil
}

// ask sends the Hello and reads its reply.
func ask(ctx context.Context, socket *net.UnixConn, hello envelope.Frame) (envelope.Negotiated, error) {
	var reply envelope.HelloReply
	err := during(ctx, socket, 0, func() error {
		if err := WriteFrame(socket, hello); err != nil {
			return err
		}
		frame, err := ReadFrame(socket, maxReply)
		if errors.Is(err, io.EOF) {
			return errors.New("the broker closed the connection without an answer: it may serve another user only")
		}
		if err != nil {
			return err
		}
		reply, err = envelope.CheckReply(frame)
		return err
	})
	switch {
	case err != nil:
		return envelope.Negotiated{}, fmt.Errorf("no answer of the broker: %w", err)
	case reply.Refused != nil:
		no := reply.Refused
		return envelope.Negotiated{}, &RefusedError{no.Code, no.Reason, milliseconds(no.RetryAfterMS)}
	}
	return *reply.Negotiated, nil
}

// milliseconds is a time of the wire's, as long as can be.
func milliseconds(n uint64) time.Duration {
	const most = uint64(1<<63-1) / uint64(time.Millisecond)
	return time.Duration(min(n, most)) * time.Millisecond
}

// adopted waits until the broker has handed the connection over, and reports whether it has.
func adopted(ctx context.Context, socket *net.UnixConn, n envelope.Negotiated, r Request) bool {
	if r.Reconnect || n.ServerCapabilities&envelope.HandlePassing == 0 || len(n.HandlePassedToken) != envelope.TokenSize {
		return false
	}
	return during(ctx, socket, readyTime, func() error {
		frame, err := ReadFrame(socket, maxReply)
		if err != nil {
			return err
		}
		return envelope.CheckReady(frame, n.HandlePassedToken)
	}) == nil
}

// during calls f, which ctx and the limit (0: none) end by the deadline of the connection. Afterwards it has none.
func during(ctx context.Context, socket *net.UnixConn, limit time.Duration, f func() error) error {
	if limit > 0 {
		_ = socket.SetDeadline(time.Now().Add(limit))
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = socket.SetDeadline(time.Unix(1, 0))
		close(ended)
	})
	err := f()
	if !stop() {
		<-ended
		return errors.Join(context.Cause(ctx), err)
	}
	_ = socket.SetDeadline(time.Time{})
	return err
}
