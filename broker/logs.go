// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"os"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/launch"
)

// Logs are looked at every rotateEvery, and sooner while one grows by more than fastGrowth in that time.
const (
	rotateEvery = 2 * time.Second
	rotateSoon  = 50 * time.Millisecond
	fastGrowth  = launch.MaxLog / 4
)

// rotateLogs bounds what backends write. It copies files: beside the loop.
func (b *Broker) rotateLogs(now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now < b.rotateAt || len(b.backends) == 0 {
		return
	}
	b.rotateAt = never
	paths := make(map[string]int64)
	for _, be := range b.backends {
		if be.process != nil && be.log != nil { // until there is a process the rest is its launcher's
			paths[be.log.Path] = b.logSizes[be.log.Path]
		}
	}
	b.tasks.Go(func() {
		next := rotateEvery
		for path, before := range paths {
			grown, size := b.rotateLog(path, before)
			if paths[path] = size; grown > fastGrowth {
				next = rotateSoon
			}
		}
		b.mu.Lock()
		b.logSizes, b.rotateAt = paths, b.now()+int64(next)
		b.mu.Unlock()
		b.poller.Wake()
	})
}

// rotateLog rotates one log if it is too long, and returns by how much it has grown and how long it is now.
func (b *Broker) rotateLog(path string, before int64) (grown, size int64) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0
	}
	grown = info.Size() - before
	rotated, err := launch.Rotate(path, launch.MaxLog)
	if err != nil {
		b.log.Error("cannot rotate a log", "path", path, "err", err)
	}
	if rotated {
		return grown, 0
	}
	return grown, info.Size()
}
