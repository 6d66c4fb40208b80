// SPDX-License-Identifier: Apache-2.0

package network

import (
	"sync"
	"time"
)

// refusalsLogged is how many refusals of a second are logged for one connection.
const refusalsLogged = 32

// budget bounds what a client can make the service write. The zero value is ready.
type budget struct {
	mu    sync.Mutex // guards what follows
	since time.Time
	used  int
}

// allow reports whether one more line may be written.
func (b *budget) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.since) >= time.Second {
		b.since, b.used = now, 0
	}
	b.used++
	return b.used <= refusalsLogged
}
