// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"runtime/debug"
	"time"
)

// What the opening of many sessions leaves behind (garbage, grown stacks) would stay until the runtime collects by itself, which
// an idle process does rarely. So the broker gives it back once, when the burst is over.
const (
	trimAfter = 10 * time.Second // of quiet
	trimBurst = 256              // sessions opened or ended since the last time
	never     = int64(1 << 62)
)

// noteSession counts towards the next trim. The lock is held.
func (b *Broker) noteSession() {
	if b.sessionsNoted++; b.sessionsNoted >= trimBurst {
		b.trimAt = b.now() + int64(trimAfter)
		if b.trimAt < b.wakeAt {
			b.wakeAt = b.trimAt
			b.poller.Wake()
		}
	}
}

// trim gives memory back if that is due.
func (b *Broker) trim(now int64) {
	b.mu.Lock()
	due := b.trimAt <= now
	if due {
		b.sessionsNoted, b.trimAt = 0, never
	}
	b.mu.Unlock()
	if due {
		b.tasks.Go(debug.FreeOSMemory)
	}
}
