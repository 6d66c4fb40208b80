// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"sync/atomic"
	"syscall"
)

// FD owns one descriptor. Its methods may be called from several goroutines; the number itself must
// not be used after Close or Take.
type FD struct {
	n atomic.Int64 // -1 once closed or taken
}

// NewFD makes an owner for n. A negative n makes an owner of nothing.
func NewFD(n int) *FD {
	f := new(FD)
	f.n.Store(int64(n))
	return f
}

// Int returns the descriptor's number, still owned by f, or -1.
func (f *FD) Int() int {
	if f == nil {
		return -1
	}
	return int(f.n.Load())
}

// Take returns the number and gives up ownership, or returns -1 if there is nothing to give.
func (f *FD) Take() int {
	if f == nil {
		return -1
	}
	return int(f.n.Swap(-1))
}

// Close closes the descriptor once; later calls do nothing.
func (f *FD) Close() error {
	n := f.Take()
	if n < 0 {
		return nil
	}
	return syscall.Close(n)
}

// CloseAll closes raw descriptors, for error paths that drop what a packet brought.
func CloseAll(fds []int) {
	for _, fd := range fds {
		_ = syscall.Close(fd)
	}
}
