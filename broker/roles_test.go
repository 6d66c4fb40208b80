// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// panicker stands in for a test in a role.
type panicker struct{}

func (panicker) Helper()                   {}
func (panicker) Fatal(a ...any)            { panic(fmt.Sprint(a...)) }
func (panicker) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (panicker) Cleanup(func())            {}

// brokerOptions is what a test asks of its broker.
type brokerOptions struct {
	Limits      broker.Limits
	IdleExit    time.Duration
	UID         int    // the user that it runs as, if not 0
	Descriptors uint64 // its limit on descriptors, if not 0
	Services    []string
	Soft        uint64 // its soft limit on descriptors when it begins, if not 0
	Shim        string // what backends are launched through, if not this binary
	Mach        broker.Mach
	Allow       []string
	Subreaper   bool // it reaps whatever has exited, as that of the command line
}

func brokerRole(args []string) {
	var o brokerOptions
	if err := json.Unmarshal([]byte(args[1]), &o); err != nil {
		panic(err)
	}
	if o.Descriptors != 0 {
		lim := syscall.Rlimit{Cur: o.Descriptors, Max: o.Descriptors}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
			panic(err)
		}
	}
	if o.Soft != 0 && os.Getenv(softVariable) == "" { // begin again with it: Go raises it at the start of a program
		var lim syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
			panic(err)
		}
		lim.Cur = o.Soft
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
			panic(err)
		}
		panic(syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), softVariable+"=1")))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if o.Limits.TakeOver == 0 {
		o.Limits.TakeOver = deadline // a slow machine is no stopped owner
	}
	b, err := broker.New(broker.Config{
		RuntimeDir: args[0], Limits: o.Limits, IdleExit: o.IdleExit, Services: o.Services, Shim: o.Shim, Mach: o.Mach, Allow: o.Allow, Subreaper: o.Subreaper,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Ready:  func() { fmt.Println("ready") },
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			if in.Text() == "check" {
				fmt.Println("check:", b.CheckDescriptors())
				continue
			}
			entries, err := os.ReadDir("/proc/self/fd")
			if err != nil {
				panic(err)
			}
			fmt.Printf("%d descriptors, %d goroutines\n", len(entries), runtime.NumGoroutine())
		}
	}()
	if err := b.Serve(ctx); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// ownerRole owns a name until it is killed. Mode serve: answers like tr a-z A-Z. Mode step: takes one connection as far as
// its standard input says, a line a step. Mode child: a child of it inherits the session's descriptor.
func ownerRole(args []string) {
	dir, name, mode := args[0], args[1], args[2]
	s := open(panicker{}, dir)
	s.own(name)
	switch mode {
	case "serve":
		fmt.Println("claimed")
		s.serve()
	case "child":
		child := exec.Command("sleep", "1000")
		child.ExtraFiles = []*os.File{s.file}
		if err := child.Start(); err != nil {
			panic(err)
		}
		fmt.Println("claimed", child.Process.Pid)
		s.serve()
	case "step":
		fmt.Println("claimed")
		step(s)
	}
}

func step(s *rawSession) {
	var m message
	var h session.HandOver
	var c net.Conn
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "receive":
			m, h = s.handOver()
		case "acknowledge":
			s.acknowledge(h.Connection)
		case "ok":
			c = s.conn(m)
			c.Write(h.Preamble)
		case "write":
			c.Write([]byte("hello"))
		}
		fmt.Println("done", in.Text())
	}
}

// callerRole dials and says what it got, until it is killed.
func callerRole(args []string) {
	c := dial(panicker{}, args[0], args[1])
	fmt.Println("dialled")
	fmt.Println("verdict", verdict(panicker{}, c))
	c.Read(make([]byte, 1))
}
