// SPDX-License-Identifier: Apache-2.0

// Mach is a server and a client that find each other by the Mach bootstrap protocol, and send each other messages through ports: a body in
// one direction, out-of-line memory in the other.
//
//	mach serve            # in one terminal
//	mach ask hello        # in another
//
// The broker is started by whoever is first.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/switchboard-ipc/switchboard/mach"
)

// What the two agree on: a name, and a subsystem of two routines. A reply's id is the request's and 100 more.
const (
	service = "com.example.upper"

	routineUpper  = 7000 // text in, text out
	routineRepeat = 7001 // count (4 bytes) and text in, memory out

	badRequest = 1 // the only body of a reply to anything else
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mach:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		return serve(ctx)
	case len(args) > 1 && args[0] == "ask":
		return ask(ctx, strings.Join(args[1:], " "))
	}
	return errors.New("usage: mach serve | mach ask TEXT")
}

// serve answers until ctx ends.
func serve(ctx context.Context) error {
	b, err := mach.Connect(ctx, mach.Options{})
	if err != nil {
		return err
	}
	defer b.Close() // and with it the name
	port, err := b.CheckIn(ctx, service)
	if err != nil {
		return err
	}
	defer port.Close()
	fmt.Println("serving", service)
	for {
		m, err := port.Receive(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if err := answer(ctx, m); err != nil {
			fmt.Fprintln(os.Stderr, "mach:", err) // that caller's trouble
		}
		m.Close() // tells a caller who got no answer
	}
}

func answer(ctx context.Context, m *mach.Message) error {
	if m.Reply == nil {
		return nil
	}
	reply := &mach.Message{ID: m.ID + 100}
	defer reply.Close() // what was not sent
	switch {
	case m.ID == routineUpper:
		reply.Body = bytes.ToUpper(m.Body)
	case m.ID == routineRepeat && len(m.Body) >= 4:
		count := min(binary.LittleEndian.Uint32(m.Body), 1<<16)
		memory, err := mach.NewMemory(bytes.Repeat(m.Body[4:], int(count)))
		if err != nil {
			return err
		}
		reply.Memory = []*mach.Memory{memory}
	default:
		reply.Body = []byte{badRequest}
	}
	return m.Reply.Send(ctx, reply)
}

// ask calls both routines and prints what they answer.
func ask(ctx context.Context, text string) error {
	b, err := mach.Connect(ctx, mach.Options{})
	if err != nil {
		return err
	}
	defer b.Close()
	port, err := b.LookUp(ctx, service)
	if err != nil {
		return err
	}
	defer port.Close()

	reply, err := port.Call(ctx, &mach.Message{ID: routineUpper, Body: []byte(text)})
	if err != nil {
		return err
	}
	defer reply.Close()
	fmt.Printf("%s\n", reply.Body)

	request := binary.LittleEndian.AppendUint32(nil, 1000)
	long, err := port.Call(ctx, &mach.Message{ID: routineRepeat, Body: append(request, text...)})
	if err != nil {
		return err
	}
	defer long.Close()
	if len(long.Memory) != 1 {
		return errors.New("the reply has no memory")
	}
	fmt.Println(long.Memory[0].Len(), "bytes of memory")
	return nil
}
