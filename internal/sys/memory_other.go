// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package sys

import (
	"errors"
	"sync/atomic"
	"time"
)

// Seals that a memory file may have.
const (
	SealSeal = 1 << iota
	SealShrink
	SealGrow
	SealFutureWrite
)

// Memory is a mapping of a whole file; on this system there is none.
type Memory struct{}

func NewMemory(string, int) (*FD, error)                      { return nil, errors.ErrUnsupported }
func Seal(int, int) error                                     { return errors.ErrUnsupported }
func MapMemory(int, bool, int, int64, int64) (*Memory, error) { return nil, errors.ErrUnsupported }
func (m *Memory) Bytes() []byte                               { return nil }
func (m *Memory) Unmap()                                      {}
func (m *Memory) Word32(int) *atomic.Uint32                   { return new(atomic.Uint32) }
func (m *Memory) Word64(int) *atomic.Uint64                   { return new(atomic.Uint64) }
func FutexWait(*atomic.Uint32, uint32, time.Duration)         {}
func FutexWake(*atomic.Uint32)                                {}
func NewEvent() (*FD, error)                                  { return nil, errors.ErrUnsupported }
func SignalEvent(int)                                         {}
func DrainEvent(int)                                          {}
