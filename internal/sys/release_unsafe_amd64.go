// SPDX-License-Identifier: Apache-2.0

//go:build !race

package sys

import (
	"sync/atomic"
	"unsafe"
)

// Release32 stores a word after everything that was stored or loaded before, and is no fence: a load behind it may come first. On amd64
// any store is like this, where an atomic one is an exchange, which waits until all stores before it have reached the cache. Not inlined, so that
// the compiler keeps the order, too.
//
//go:noinline
func Release32(word *atomic.Uint32, value uint32) { *(*uint32)(unsafe.Pointer(word)) = value }

// Release64 is Release32 for eight bytes.
//
//go:noinline
func Release64(word *atomic.Uint64, value uint64) { *(*uint64)(unsafe.Pointer(word)) = value }
