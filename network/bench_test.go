// SPDX-License-Identifier: Apache-2.0

//go:build linux

package network_test

import (
	"testing"

	"github.com/switchboard-ipc/switchboard/network"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
)

func benchmarkAcquire(b *testing.B, keep bool, delay string) {
	s := newService(b, func(c *network.Config) { c.Logger = nil })
	s.define(b, "bench", "mode = \"shared\"\nremoval_delay = \""+delay+"\"\n")
	c := s.connect(b)
	if keep {
		s.connect(b).mustAcquire("bench")
	}
	for b.Loop() {
		a := c.mustAcquire("bench")
		a.fd.Close()
		c.call(vmnet.Request{Command: vmnet.Release, Version: 1, Lease: a.Lease}.Dict())
	}
}

// BenchmarkAcquireThatCreates makes a network each time, and removes it.
func BenchmarkAcquireThatCreates(b *testing.B) { benchmarkAcquire(b, false, "0s") }

// BenchmarkAcquireThatReuses attaches to a network that is there, and lets go of it.
func BenchmarkAcquireThatReuses(b *testing.B) { benchmarkAcquire(b, true, "1h") }

// BenchmarkAcquireHeld asks for what the connection has already.
func BenchmarkAcquireHeld(b *testing.B) {
	s := newService(b, func(c *network.Config) { c.Logger = nil })
	c := s.connect(b)
	for b.Loop() {
		a := c.mustAcquire("shared")
		a.fd.Close()
	}
}
