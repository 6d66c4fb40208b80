// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/protocol/dial"
)

// A broker that takes the place of one that crashed knows no names yet, and their owners are on their way: they need some
// milliseconds. For a moment, callers of an unknown name wait instead of being told that it is unknown.
const (
	grace     = time.Second
	graceStep = 5 * time.Millisecond
)

// heldCaller is one that waits for a name's owner to come back.
type heldCaller struct {
	*caller
	request dial.Request
}

// hold keeps a caller of a name that is unknown so soon after a crash. The loop's.
func (b *Broker) hold(c *caller, req dial.Request) bool {
	if b.now() >= b.graceUntil || b.known(c.namespace, req.Name) {
		return false
	}
	b.mu.Lock()
	b.unpoll(c) // it would stay readable, or hung up, and nobody would look
	b.mu.Unlock()
	b.held = append(b.held, heldCaller{c, req})
	return true
}

func (b *Broker) known(ns directory.ID, name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ending != "" || b.defined[name] || b.directory.Launchable(ns, name) || b.index.resolve(b.directory.Chain(ns), []byte(name)) != nil
}

// releaseHeld goes on with callers whose name is known now, and with all of them when the moment is over.
func (b *Broker) releaseHeld(now int64) {
	still := b.held[:0]
	for _, h := range b.held {
		if now < b.graceUntil && !b.known(h.namespace, h.request.Name) {
			still = append(still, h)
			continue
		}
		b.find(h.caller, h.request)
	}
	clear(b.held[len(still):])
	b.held = still
}
