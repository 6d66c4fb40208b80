// SPDX-License-Identifier: Apache-2.0

// Command embedded is one binary with everything in it: a broker of its own, a service and a caller. This is how an
// application ships Switchboard inside itself, and how tests use it.
//
//	go run ./examples/embedded
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/broker"
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "embedded-")
	if err != nil {
		log.Fatal(err)
	}
	err = run(ctx, filepath.Join(dir, "run"), os.Stdout)
	os.RemoveAll(dir)
	if err != nil {
		log.Fatal(err)
	}
}

// run has a broker in a folder of its own for as long as its service is called.
func run(ctx context.Context, dir string, out io.Writer) error {
	ready := make(chan struct{})
	b, err := broker.New(broker.Config{RuntimeDir: dir, Ready: func() { close(ready) }})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx) }()
	select {
	case <-ready:
		err = greet(ctx, dir, out)
	case err = <-served:
		served <- err
	}
	cancel()
	return errors.Join(err, <-served)
}

// greet gives a name and calls it.
func greet(ctx context.Context, dir string, out io.Writer) error {
	client := switchboard.New(switchboard.Config{RuntimeDir: dir, NoAutostart: true})
	defer client.Close()
	l, err := client.Listen(ctx, "com.example.greeter")
	if err != nil {
		return err
	}
	answered := make(chan error, 1)
	go func() { answered <- answerOne(l) }()
	c, err := client.Dial(ctx, "com.example.greeter")
	if err != nil {
		l.Close()
		return errors.Join(err, <-answered)
	}
	defer c.Close()
	_, err = io.Copy(out, c)
	l.Close()
	return errors.Join(err, <-answered)
}

// answerOne greets the first caller.
func answerOne(l *switchboard.Listener) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	who, err := switchboard.Peer(c)
	if err != nil {
		return err
	}
	defer who.Close()
	_, err = fmt.Fprintf(c, "hello, process %d\n", who.PID)
	return err
}
