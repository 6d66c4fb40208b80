// SPDX-License-Identifier: Apache-2.0

package runningprocess

import (
	"container/list"
	"io"
	"sync"
)

// pending are open connections, of which there is a limit: one more, and the oldest is closed.
type pending struct {
	limit int

	mu     sync.Mutex
	order  list.List // of io.Closer, the oldest first
	closed bool
}

// place is where a connection is in a pending.
type place struct{ element *list.Element }

// add takes a connection in. After close it is closed at once.
func (p *pending) add(c io.Closer) *place {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.Close()
		return &place{}
	}
	if p.order.Len() >= p.limit {
		p.shedLocked()
	}
	return &place{p.order.PushBack(c)}
}

// remove lets a connection go, and reports whether it is open still. Once more, it reports false.
func (p *pending) remove(at *place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at.element == nil || at.element.Value == nil {
		return false
	}
	p.order.Remove(at.element)
	at.element.Value = nil
	return true
}

// shed closes the oldest, if there is one.
func (p *pending) shed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shedLocked()
}

func (p *pending) shedLocked() bool {
	oldest := p.order.Front()
	if oldest == nil {
		return false
	}
	c := p.order.Remove(oldest).(io.Closer)
	oldest.Value = nil // says so to remove
	c.Close()
	return true
}

// close closes all, and any that come.
func (p *pending) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for p.shedLocked() {
	}
}
