// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Seals that a memory file may have.
const (
	SealSeal        = unix.F_SEAL_SEAL
	SealShrink      = unix.F_SEAL_SHRINK
	SealGrow        = unix.F_SEAL_GROW
	SealFutureWrite = unix.F_SEAL_FUTURE_WRITE
)

// NewMemory makes a file in memory of a size, close-on-exec, that can be sealed. name is what /proc shows.
func NewMemory(name string, size int) (*FD, error) {
	const noexecSeal = 8 // MFD_NOEXEC_SEAL, Linux 6.3
	n, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|noexecSeal)
	if err == unix.EINVAL {
		n, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	fd := NewFD(n)
	if err := unix.Ftruncate(n, int64(size)); err != nil {
		fd.Close()
		return nil, os.NewSyscallError("ftruncate", err)
	}
	return fd, nil
}

// Seal adds seals to a memory file.
func Seal(fd, seals int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	return os.NewSyscallError("fcntl F_ADD_SEALS", err)
}

// Memory is a mapping of a whole file, shared with other processes. The zero value maps nothing.
type Memory struct{ b []byte }

// MapMemory maps a memory file that has all of the seals, as it is. A file of any other kind is refused, and one
// that is longer than limit or shorter than least.
func MapMemory(fd int, writable bool, seals int, least, limit int64) (*Memory, error) {
	have, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || have&seals != seals {
		return nil, fmt.Errorf("it is no memory file that is sealed as it must be (%#x, and not %#x)", have, seals)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	if st.Size < least || st.Size > limit {
		return nil, fmt.Errorf("the memory file has %d bytes", st.Size)
	}
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	b, err := unix.Mmap(fd, 0, int(st.Size), prot, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	_ = unix.Madvise(b, unix.MADV_DONTDUMP) // pixels do not belong in a core file, nor gigabytes of holes
	return &Memory{b}, nil
}

// Bytes returns the memory. It must not be touched after Unmap.
func (m *Memory) Bytes() []byte { return m.b }

// Unmap ends the mapping; again it does nothing.
func (m *Memory) Unmap() {
	if m.b != nil {
		_ = unix.Munmap(m.b)
		m.b = nil
	}
}

// Word32 returns the word at an offset, for atomic access. A word outside of the memory, or not aligned, is a panic.
func (m *Memory) Word32(offset int) *atomic.Uint32 {
	_ = m.b[offset+3]
	if offset%4 != 0 {
		panic("internal error: a word that is not aligned")
	}
	return (*atomic.Uint32)(unsafe.Pointer(&m.b[offset]))
}

// Word64 is Word32 for eight bytes.
func (m *Memory) Word64(offset int) *atomic.Uint64 {
	_ = m.b[offset+7]
	if offset%8 != 0 {
		panic("internal error: a word that is not aligned")
	}
	return (*atomic.Uint64)(unsafe.Pointer(&m.b[offset]))
}

const futexWait, futexWake = 0, 1

// FutexWait sleeps while the word, in shared memory, has the value: until FutexWake, a signal, or the timeout (0: none). It
// holds on to a thread.
func FutexWait(word *atomic.Uint32, value uint32, timeout time.Duration) {
	var ts *unix.Timespec
	if timeout > 0 {
		t := unix.NsecToTimespec(int64(timeout))
		ts = &t
	}
	_, _, _ = syscall.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait, uintptr(value), uintptr(unsafe.Pointer(ts)), 0, 0)
}

// FutexWake wakes all who sleep at the word.
func FutexWake(word *atomic.Uint32) {
	const all = 1<<31 - 1
	_, _, _ = syscall.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWake, all, 0, 0, 0)
}

// NewEvent makes an eventfd, non-blocking and close-on-exec.
func NewEvent() (*FD, error) {
	n, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return NewFD(n), nil
}

// SignalEvent makes an eventfd readable; one that is full is that already. Who shares it can make the call wait by clearing O_NONBLOCK and
// filling it between the two system calls; that ends with DrainEvent. Both are raw: what the scheduler sees as calls that may wait would have
// its monitor wake up for each frame, which doubles the time of a wake-up.
func SignalEvent(fd int) {
	room := unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT}
	var now unix.Timespec
	if n, _, _ := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&room)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0); n == 0 {
		return
	}
	one := uint64(1)
	_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), 8)
}

// DrainEvent makes an eventfd unreadable, and gives room to who waits to write it.
func DrainEvent(fd int) {
	_ = SetNonblock(fd, true)
	var n [8]byte
	_, _ = unix.Read(fd, n[:])
}
