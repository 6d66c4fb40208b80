// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/vectortest"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// TestMachVector sends every vector that a client sends to a broker, each with what it takes to be granted, and looks at the reply.
func TestMachVector(t *testing.T) {
	t.Parallel()
	m, permissive := newMachSide(t, nil), newMachSide(t, nil)
	permissive.flags = []string{"--allow", "launch"}
	m.serve(t)
	permissive.serve(t)
	before := m.settled(t)
	sent := 0
	for _, v := range vectortest.Vectors[vectortest.Values](t, filepath.Join("..", "..", "protocol", "mach", "testdata"), "mach-bootstrap-vectors/1") {
		if v["direction"] != "client->broker" {
			continue
		}
		sent++
		t.Run(v.Text(t, "name"), func(t *testing.T) { // one after the other: most want the same name
			v := &liveVector{m: m, expect: v.Object(t, "expect"), fds: v.Texts(t, "fds"), packet: unhex(t, v.Text(t, "hex"))}
			if v.expect["op"] == "spawn" {
				v.m = m
				v.refusedSpawn(t)
				v.m = permissive
			}
			v.run(t)
		})
	}
	if sent < 49 {
		t.Errorf("only %d vectors were sent", sent)
	}
	m.noLeak(t, before)
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// liveVector is a packet and what is expected of it.
type liveVector struct {
	m      *machSide
	packet []byte
	fds    []string
	expect vectortest.Values

	conn, other *machConn
	receive     *os.File // of the right that is sent
	owned       *os.File // the receive right of the name that the vector is about
}

// rights makes what the vector sends along.
func (v *liveVector) rights(t *testing.T) (files []*os.File) {
	t.Helper()
	for _, kind := range v.fds {
		receive, send := machPort(t)
		switch kind {
		case "send":
			v.receive = receive
			files = append(files, send)
		case "receive":
			files = append(files, receive)
		default:
			t.Fatalf("a new kind of descriptor: %q", kind)
		}
	}
	return files
}

func (v *liveVector) refusedSpawn(t *testing.T) {
	t.Helper()
	c := machDial(t, v.m.socket())
	defer c.c.Close()
	c.send(t, v.packet)
	if reply, _ := c.reply(t); reply.Shape != mach.StatusReply || reply.Code != mach.NotPrivileged {
		t.Errorf("a spawn that is not allowed is answered by %+v", reply)
	}
}

func (v *liveVector) run(t *testing.T) {
	v.conn, v.other = machDial(t, v.m.socket()), machDial(t, v.m.socket())
	files := v.rights(t)
	name := v.expect.Text(t, "service")
	result := v.expect.Text(t, "result")
	switch result {
	case "accept":
		v.prepare(t, name)
		v.conn.send(t, v.packet, files...)
		v.accepted(t, name)
	case "reject":
		v.conn.send(t, v.packet, files...)
		v.rejected(t)
	default:
		t.Fatalf("a new kind of result: %q", result)
	}
	for _, f := range files {
		f.Close()
	}
	v.conn.c.Close()
	switch {
	case v.receive == nil:
	case v.expect["op"] == "subset":
		v.receive.Close() // ends the subset
	default:
		machHangup(t, v.receive) // nobody has kept what was sent
	}
	v.other.c.Close()
	if name != "" {
		v.clear(t, name)
	}
}

// prepare makes what the request needs to be granted.
func (v *liveVector) prepare(t *testing.T, name string) {
	t.Helper()
	switch op := fmt.Sprint(v.expect["op"]); {
	case op == "look_up" || op == "status":
		v.owned = v.other.must(t, mach.Request{Routine: mach.CheckIn, Service: name})
	case op == "check_in" && v.flags(t)&mach.StrictCheckIn != 0, op == "register" && v.expect["right"] == "null":
		v.other.must(t, mach.Request{Routine: mach.CreateService, Service: name}).Close()
	}
}

func (v *liveVector) flags(t *testing.T) mach.Flags {
	return mach.Flags(vectortest.Values{"flags": v.expect["flags"]}.Uint(t, "flags"))
}
