// SPDX-License-Identifier: Apache-2.0

package mach_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

var port1 = mach.Descriptor{Fd: 1, Disposition: mach.CopySend}

func at(d mach.Descriptor, fd mach.Fd) mach.Descriptor {
	d.Fd = fd
	return d
}

func TestMessageFraming(t *testing.T) {
	memory := mach.Descriptor{Kind: mach.MemoryKind, Fd: 1, Length: 4096, Deallocate: true, Copy: 1}
	ports := mach.Descriptor{Kind: mach.PortsKind, Disposition: mach.MoveSend, Fd: 1, Length: 2}
	guarded := mach.Descriptor{Kind: mach.GuardedKind, Disposition: mach.MoveReceive, Fd: 1}
	list := func(d ...mach.Descriptor) []mach.Descriptor { return d }
	for name, c := range map[string]struct {
		descriptors []mach.Descriptor
		local       uint32
		place       mach.Place
		fds         []int // the numbers of file descriptors with which it is a message
	}{
		"nothing":                 {nil, 0, mach.OnPort, []int{0}},
		"token":                   {nil, 9, mach.OnControl, []int{0}},
		"reply right":             {nil, 9, mach.OnPort, []int{1}},
		"right":                   {list(port1), 0, mach.OnPort, []int{1}},
		"reply right and a right": {list(at(port1, 2)), 1, mach.OnPort, []int{2}},
		"position of reply right": {list(port1), 1, mach.OnPort, nil},
		"memory then right":       {list(memory, at(port1, 2)), 0, mach.OnPort, []int{2}},
		"same twice":              {list(memory, port1), 0, mach.OnPort, nil},
		"null, dead and a right":  {list(at(port1, mach.Null), at(port1, mach.Dead), port1), 0, mach.OnPort, []int{1}},
		"guarded":                 {list(guarded), 0, mach.OnPort, []int{1}},
		"ports":                   {list(ports), 0, mach.OnPort, []int{1, 2, 3}},
		"right after ports":       {list(ports, at(port1, 2)), 0, mach.OnPort, nil},
		"null ports":              {list(at(ports, mach.Null)), 0, mach.OnPort, []int{0, 1, 2}},
		"memory that died":        {list(at(memory, mach.Dead)), 0, mach.OnPort, nil},
		"more than one may bring": {list(at(port1, 300)), 0, mach.OnPort, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := mach.Message{
				Header:      mach.Header{Bits: mach.NewBits(false, mach.CopySend, 0), Local: c.local, ID: 5000},
				Descriptors: c.descriptors, Complex: c.descriptors != nil, Body: []byte("body"),
			}
			packet := m.Append(nil)
			ok := make(map[int]bool)
			for _, fds := range c.fds {
				ok[fds] = true
			}
			for fds := range 5 {
				got, err := mach.ParseMessage(packet, fds, c.place)
				var framing *mach.FramingError
				switch {
				case !ok[fds]:
					if !errors.As(err, &framing) {
						t.Errorf("%d file descriptors: %v, want a framing error", fds, err)
					}
					continue
				case err != nil:
					t.Errorf("%d file descriptors: %v", fds, err)
					continue
				}
				got.Header.Size, got.Header.Bits = 0, m.Header.Bits
				if diff := cmp.Diff(m, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestMessageTypes(t *testing.T) {
	for name, d := range map[string]mach.Descriptor{
		"kind":                {Kind: 5, Fd: 1, Disposition: mach.CopySend},
		"disposition":         {Fd: 1, Disposition: 22},
		"no disposition":      {Fd: 1},
		"guarded send right":  {Kind: mach.GuardedKind, Fd: 1, Disposition: mach.CopySend},
		"ports of no meaning": {Kind: mach.PortsKind, Fd: 1, Length: 1},
	} {
		packet := mach.Message{Descriptors: []mach.Descriptor{d}}.Append(nil)
		_, err := mach.ParseMessage(packet, 1, mach.OnPort)
		var fault *mach.Fault
		if !errors.As(err, &fault) || fault.Code != mach.TypeError {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEveryCut cuts a message with descriptors at every length, with its size
// following: never a panic, and never a message that was not there.
func TestEveryCut(t *testing.T) {
	packet := mach.Message{Descriptors: []mach.Descriptor{port1, {Kind: mach.MemoryKind, Fd: 2, Length: 1}}}.Append(nil)
	for n := range packet {
		b := append([]byte(nil), packet[:n]...)
		if n >= 8 {
			b[4] = byte(n)
		}
		var framing *mach.FramingError
		if _, err := mach.ParseMessage(b, 2, mach.OnPort); !errors.As(err, &framing) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
