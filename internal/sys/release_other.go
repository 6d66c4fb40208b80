// SPDX-License-Identifier: Apache-2.0

//go:build !amd64 || race

package sys

import "sync/atomic"

// Release32 stores a word after everything that was stored or loaded before, and is no fence: a load behind it may come first. (The
// race detector takes a plain store for a race, so with it this is an atomic one on amd64, too.)
func Release32(word *atomic.Uint32, value uint32) { word.Store(value) }

// Release64 is Release32 for eight bytes.
func Release64(word *atomic.Uint64, value uint64) { word.Store(value) }
