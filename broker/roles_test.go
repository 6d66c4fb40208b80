// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"

	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// panicker stands in for a test in a role.
type panicker struct{}

func (panicker) Helper()                   {}
func (panicker) Fatal(a ...any)            { panic(fmt.Sprint(a...)) }
func (panicker) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (panicker) Cleanup(func())            {}

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
