// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// execveCheck is AT_EXECVE_CHECK (Linux 6.14).
const execveCheck = 0x10000

// CheckExecutable returns nil if this thread could execute the file at path: it asks with AT_EXECVE_CHECK, which looks at
// everything but the format; on kernels before 6.14 only the permission is looked at. The error is a syscall.Errno.
func CheckExecutable(path string) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	vec := [2]*byte{p, nil}
	var none [1]*byte
	at := unix.AT_FDCWD
	_, _, errno := syscall.RawSyscall6(unix.SYS_EXECVEAT, uintptr(at), uintptr(unsafe.Pointer(p)),
		uintptr(unsafe.Pointer(&vec[0])), uintptr(unsafe.Pointer(&none[0])), execveCheck, 0)
	if errno != unix.EINVAL && errno != unix.ENOSYS {
		if errno == 0 {
			return nil
		}
		return errno
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.EACCES
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}

// SetCredentials gives this thread, and no other, the groups, the group and the user (real, effective, saved); it is for a
// thread that is about to exec. A negative gid or uid leaves that one, and nil groups the supplementary ones, as they are.
func SetCredentials(uid, gid int, groups []int) error {
	if groups != nil {
		list := make([]uint32, len(groups)+1)
		for i, g := range groups {
			list[i] = uint32(g)
		}
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&list[0])), 0); errno != 0 {
			return os.NewSyscallError("setgroups", errno)
		}
	}
	if gid >= 0 {
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); errno != 0 {
			return os.NewSyscallError("setresgid", errno)
		}
	}
	if uid >= 0 {
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			return os.NewSyscallError("setresuid", errno)
		}
	}
	return nil
}

// sigaction of the kernel is at most this long on any architecture: handler, flags, restorer, mask.
type kernelSigaction struct {
	handler uintptr
	rest    [7]uintptr
}

// ResetSignals sets every ignored signal back to its default, and unblocks all signals for this thread, as is right for a
// program about to be executed: exec resets handlers by itself, but keeps what is ignored or blocked.
func ResetSignals() {
	const sigIgn, setSize = 1, 8
	for sig := uintptr(1); sig <= 64; sig++ {
		var old, def kernelSigaction
		_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&old)), setSize, 0, 0)
		if errno == 0 && old.handler == sigIgn {
			_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&def)), 0, setSize, 0, 0)
		}
	}
	var none [2]uint64
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&none)), 0, setSize, 0, 0)
}

// CloseOnExecFrom marks every descriptor from first on close-on-exec.
func CloseOnExecFrom(first int) error {
	_, _, errno := syscall.RawSyscall(unix.SYS_CLOSE_RANGE, uintptr(first), uintptr(^uint32(0)), unix.CLOSE_RANGE_CLOEXEC)
	if errno == 0 {
		return nil
	}
	// Before Linux 5.11, or where a filter forbids the call: one by one.
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return os.NewSyscallError("close_range", errno)
	}
	for _, e := range names {
		n := 0
		for _, c := range e.Name() {
			n = n*10 + int(c-'0')
		}
		if n >= first {
			_, _, _ = syscall.RawSyscall(unix.SYS_FCNTL, uintptr(n), unix.F_SETFD, unix.FD_CLOEXEC)
		}
	}
	return nil
}

// DupTo duplicates fd as the number to, which programs executed later inherit. If they are the same, only the flag goes.
func DupTo(fd, to int) error {
	if fd == to {
		_, _, errno := syscall.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETFD, 0)
		if errno != 0 {
			return os.NewSyscallError("fcntl", errno)
		}
		return nil
	}
	if _, _, errno := syscall.RawSyscall(unix.SYS_DUP3, uintptr(fd), uintptr(to), 0); errno != 0 {
		return os.NewSyscallError("dup3", errno)
	}
	return nil
}

// DupAbove duplicates fd, close-on-exec, under a number of at least least.
func DupAbove(fd, least int) (int, error) {
	n, _, errno := syscall.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_DUPFD_CLOEXEC, uintptr(least))
	if errno != 0 {
		return -1, os.NewSyscallError("fcntl", errno)
	}
	return int(n), nil
}

// WaitPacket waits for one packet on a blocking SEQPACKET socket and returns it whole; nil and no error is a hang-up.
func WaitPacket(fd int) ([]byte, error) {
	var one [1]byte
	for {
		n, _, errno := syscall.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&one[0])), 0, unix.MSG_PEEK|unix.MSG_TRUNC, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return nil, errno
		}
		if n == 0 {
			return nil, nil
		}
		b := make([]byte, n)
		got, err := Read(fd, b)
		return b[:max(got, 0)], err
	}
}
