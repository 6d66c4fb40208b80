// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// testLane is what backend.c answers requests on.
const testLane = 0xF415

// greeting is a Hello as the original's library sends it, without the offer to take a handoff.
func greeting(service, version string) envelope.Hello {
	return envelope.Hello{
		ClientMinProtocol: 1, ClientMaxProtocol: 1, ServiceName: service, WantedVersion: version, ClientVersion: "4.10.6", RequestID: "hello",
		PeerPID: uint32(os.Getpid()), ClientLibName: "running-process", ClientLibVersion: "4.10.6",
	}
}

func dialUnix(path string) (net.Conn, error) {
	c, err := net.DialTimeout("unix", path, originalPatience)
	if err == nil {
		err = c.SetDeadline(time.Now().Add(originalPatience))
	}
	return c, err
}

// takeFrame reads one framed message.
func takeFrame(r io.Reader) (framed []byte, f envelope.Frame, err error) {
	framed = make([]byte, envelope.HeaderSize)
	if _, err := io.ReadFull(r, framed); err != nil {
		return nil, f, err
	}
	n, err := envelope.Header(framed)
	if err != nil {
		return nil, f, err
	}
	framed = append(framed, make([]byte, n)...)
	if _, err := io.ReadFull(r, framed[envelope.HeaderSize:]); err != nil {
		return nil, f, err
	}
	f, err = envelope.ParseFrame(framed[envelope.HeaderSize:])
	return framed, f, err
}

// greet sends a Hello on a connection.
func greet(c net.Conn, h envelope.Hello) (envelope.HelloReply, error) {
	request := envelope.Frame{EnvelopeVersion: 1, PayloadProtocol: envelope.Control, Payload: h.Append(nil), RequestID: 1}
	if _, err := c.Write(request.AppendFramed(nil)); err != nil {
		return envelope.HelloReply{}, err
	}
	_, f, err := takeFrame(c)
	if err != nil {
		return envelope.HelloReply{}, fmt.Errorf("no reply to a Hello: %w", err)
	}
	return envelope.ParseHelloReply(f.Payload)
}

// tryHello sends a Hello on a connection of its own.
func tryHello(socket string, h envelope.Hello) (envelope.HelloReply, error) {
	c, err := dialUnix(socket)
	if err != nil {
		return envelope.HelloReply{}, err
	}
	defer c.Close()
	return greet(c, h)
}

// hello is a Hello that is negotiated.
func (o *original) hello(t *testing.T, service, version string) envelope.Negotiated {
	t.Helper()
	reply, err := tryHello(o.socket(t), greeting(service, version))
	if err != nil || reply.Negotiated == nil {
		t.Fatalf("Hello for %s %s: %s, want it negotiated", service, version, outcome(reply, err))
	}
	return *reply.Negotiated
}

// refused is a Hello that is refused.
func (o *original) refused(t *testing.T, service, version string) envelope.Refused {
	t.Helper()
	reply, err := tryHello(o.socket(t), greeting(service, version))
	if err != nil || reply.Refused == nil {
		t.Fatalf("Hello for %s %s: %s, want it refused", service, version, outcome(reply, err))
	}
	return *reply.Refused
}

// after is the answer to a Hello once the broker knows that the backend at a pipe has ended: until then it still names that pipe.
func (o *original) after(t *testing.T, pipe, service string) (reply envelope.HelloReply) {
	t.Helper()
	o.until(t, "the broker to know of the end", func() bool {
		var err error
		if reply, err = tryHello(o.socket(t), greeting(service, goodVersion)); err != nil {
			t.Fatalf("Hello for %s: %v", service, err)
		}
		return reply.Negotiated == nil || reply.Negotiated.BackendPipe != pipe
	})
	return reply
}

func outcome(reply envelope.HelloReply, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case reply.Refused != nil:
		return fmt.Sprintf("refused with %v %q, retry after %d ms", reply.Refused.Code, reply.Refused.Reason, reply.Refused.RetryAfterMS)
	case reply.Negotiated != nil:
		return fmt.Sprintf("negotiated: %+v", *reply.Negotiated)
	}
	return "an empty reply"
}

// askOn asks a backend something on a connection that it serves.
func askOn(c net.Conn, request string) (string, error) {
	f := envelope.Frame{EnvelopeVersion: 1, PayloadProtocol: testLane, Payload: []byte(request), RequestID: 1}
	if _, err := c.Write(f.AppendFramed(nil)); err != nil {
		return "", err
	}
	_, reply, err := takeFrame(c)
	return string(reply.Payload), err
}

// askAt asks the backend at a pipe.
func askAt(pipe, request string) (string, error) {
	c, err := dialUnix(pipe)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return askOn(c, request)
}

// ping asks the backend at a pipe who it is.
func ping(t *testing.T, pipe string) (identity string, pid int) {
	t.Helper()
	identity, err := askAt(pipe, "ping")
	if err != nil {
		t.Fatalf("no answer from the backend at %s: %v", pipe, err)
	}
	return identity, number(t, identity, "pid")
}

// number finds NAME=N in what a backend says of itself.
func number(t *testing.T, identity, name string) int {
	t.Helper()
	found := regexp.MustCompile(`\b` + name + `=(\d+)`).FindStringSubmatch(identity)
	if found == nil {
		t.Fatalf("%q has no %s", identity, name)
	}
	n, _ := strconv.Atoi(found[1])
	return n
}

// administer sends an admin request.
func (o *original) administer(t *testing.T, req envelope.AdminRequest) envelope.AdminReply {
	t.Helper()
	c, err := dialUnix(o.socket(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f := envelope.Frame{EnvelopeVersion: 1, PayloadProtocol: envelope.Admin, Payload: req.Append(nil), RequestID: 44}
	if _, err := c.Write(f.AppendFramed(nil)); err != nil {
		t.Fatal(err)
	}
	_, f, err = takeFrame(c)
	if err != nil {
		t.Fatalf("no reply to %v: %v", req.Verb, err)
	}
	reply, err := envelope.ParseAdminReply(f.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}
