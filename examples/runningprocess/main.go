// SPDX-License-Identifier: Apache-2.0

// Command runningprocess is a backend of a running-process broker, and its client. The backend tells who asks its number.
//
//	go build -o /usr/local/bin/pinger ./examples/runningprocess
//	switchboard serve &
//
// With a definition pinger.servicedef whose binary_path is /usr/local/bin/pinger, the broker launches the backend for the first client:
//
//	/usr/local/bin/pinger ping pinger 1.0.0
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
	"github.com/switchboard-ipc/switchboard/runningprocess"
)

const (
	lane    = 0xF415  // of this program's frames, from the range for private use
	longest = 4 << 10 // bytes of one
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 0:
		err = serve(ctx)
	case len(args) == 3 && args[0] == "ping":
		err = ping(ctx, args[1], args[2], os.Stdout)
	default:
		err = errors.New("usage: runningprocess | runningprocess ping SERVICE VERSION")
	}
	if err != nil {
		log.Fatal(err)
	}
}

// serve is the backend, until ctx ends.
func serve(ctx context.Context) error {
	l, err := runningprocess.Listen()
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	for {
		c, err := l.AcceptConn()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go answer(c)
	}
}

// answer answers pings until the client leaves or says something else.
func answer(c *runningprocess.Conn) {
	defer c.Close()
	for {
		f, err := runningprocess.ReadFrame(c, longest)
		if err != nil || envelope.CheckServed(f.PayloadProtocol, lane) != nil || string(f.Payload) != "ping" {
			return
		}
		text := fmt.Sprintf("pong of process %d, handed over: %v", os.Getpid(), c.HandedOff())
		if runningprocess.WriteFrame(c, f.Reply(lane, []byte(text))) != nil {
			return
		}
	}
}

// ping is the client.
func ping(ctx context.Context, service, version string, out io.Writer) error {
	c, _, err := runningprocess.Dial(ctx, runningprocess.Request{Service: service, Version: version})
	if err != nil {
		return err
	}
	defer c.Close()
	context.AfterFunc(ctx, func() { c.Close() })
	if err := runningprocess.WriteFrame(c, envelope.Frame{PayloadProtocol: lane, Payload: []byte("ping"), RequestID: 1}); err != nil {
		return err
	}
	reply, err := runningprocess.ReadFrame(c, longest)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", reply.Payload)
	return err
}
