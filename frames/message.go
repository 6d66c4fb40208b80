// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"errors"
	"fmt"
)

// The messages of a connection (docs/frames.md, section 6).
const (
	helloKind      = 1
	welcomeKind    = 2
	poolKind       = 3
	evictedKind    = 4
	byeKind        = 5
	refusedKind    = 6
	statisticsKind = 7
	releasedKind   = 16
	connectKind    = 17

	messageHeader = 16
	maxMessage    = 4096
)

// header is the fixed part of a message.
type header struct {
	length int
	kind   uint16
	fds    int
}

func appendHeader(b []byte, kind uint16, payload, fds int) []byte {
	b = order.AppendUint32(b, uint32(messageHeader+payload))
	b = order.AppendUint16(b, kind)
	b = append(b, byte(fds), version)
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0)
}

// errVersion: the other side speaks another version of the protocol.
var errVersion = errors.New("the other side speaks another version")

func parseHeader(b []byte) (h header, err error) {
	h = header{int(min(order.Uint32(b), maxMessage+1)), order.Uint16(b[4:]), int(b[6])}
	switch {
	case b[7] != version:
		return h, fmt.Errorf("%w of the protocol of frames, %d and not %d", errVersion, b[7], version)
	case h.length < messageHeader || h.length > maxMessage:
		return h, fmt.Errorf("a message of %d bytes", order.Uint32(b))
	case h.fds > 4:
		return h, fmt.Errorf("a message with %d descriptors", h.fds)
	}
	return h, nil
}

// hello is what a reader wants.
type hello struct {
	mode     Mode
	holds    int
	deadline uint32 // ms
	last     bool
}

func (m hello) append(b []byte) []byte {
	b = order.AppendUint32(b, uint32(m.mode))
	b = order.AppendUint32(b, uint32(m.holds))
	b = order.AppendUint32(b, m.deadline)
	flags := uint32(0)
	if m.last {
		flags = 1
	}
	return order.AppendUint32(b, flags)
}

func parseHello(b []byte) (m hello, err error) {
	if len(b) != 16 {
		return m, fmt.Errorf("a HELLO of %d bytes", len(b))
	}
	m = hello{Mode(order.Uint32(b)), int(order.Uint32(b[4:])), order.Uint32(b[8:]), order.Uint32(b[12:])&1 != 0}
	if m.mode < Latest || m.mode > statistics {
		return m, fmt.Errorf("mode %d is unknown", m.mode)
	}
	return m, nil
}

// welcome is what a reader gets, with the descriptors of pool, words and event.
type welcome struct {
	epoch    uint32
	holds    int
	deadline uint32
	head     uint64
	channel  [16]byte
}

func (m welcome) append(b []byte) []byte {
	b = order.AppendUint32(b, m.epoch)
	b = order.AppendUint32(b, uint32(m.holds))
	b = order.AppendUint32(b, m.deadline)
	b = order.AppendUint32(b, 0)
	b = order.AppendUint64(b, m.head)
	return append(b, m.channel[:]...)
}

func parseWelcome(b []byte) (m welcome, err error) {
	if len(b) != 40 {
		return m, fmt.Errorf("a WELCOME of %d bytes", len(b))
	}
	m = welcome{epoch: order.Uint32(b), holds: int(order.Uint32(b[4:])), deadline: order.Uint32(b[8:]), head: order.Uint64(b[16:])}
	copy(m.channel[:], b[24:])
	return m, checkHolds(m.holds)
}

// newPool announces the next epoch, with the descriptors of pool and words.
type newPool struct {
	epoch uint32
	holds int
}

func (m newPool) append(b []byte) []byte {
	return order.AppendUint32(order.AppendUint32(b, m.epoch), uint32(m.holds))
}

func parsePool(b []byte) (m newPool, err error) {
	if len(b) != 8 {
		return m, fmt.Errorf("a POOL of %d bytes", len(b))
	}
	m = newPool{order.Uint32(b), int(order.Uint32(b[4:]))}
	return m, checkHolds(m.holds)
}

func checkHolds(n int) error {
	if n < 1 || n > maxHolds {
		return fmt.Errorf("%d holds were granted", n)
	}
	return nil
}
