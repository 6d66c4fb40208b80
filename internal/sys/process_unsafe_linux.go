// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Exit is how a process ended.
type Exit struct {
	Code   int            // exit status, if Signal is 0
	Signal syscall.Signal // what killed it, or 0
	Core   bool           // it left a core dump
}

// WaitChild asks, without waiting, whether the child behind a pidfd has exited. Unless reap is set it stays as it is, so that its
// number cannot be used again. ok is false while it runs. Not our child is syscall.ECHILD.
func WaitChild(pidfd int, reap bool) (e Exit, ok bool, err error) {
	options := uintptr(unix.WEXITED | unix.WNOHANG)
	if !reap {
		options |= unix.WNOWAIT
	}
	return waitid(unix.P_PIDFD, pidfd, options)
}

// ReapChild reaps the child with this number if it has exited.
func ReapChild(pid int) (e Exit, ok bool, err error) {
	return waitid(unix.P_PID, pid, unix.WEXITED|unix.WNOHANG)
}

// siginfo is what waitid fills in. The union begins at the alignment of a pointer.
type siginfo struct {
	signo, errno, code int32
	_                  [0]uintptr
	pid                int32
	uid                uint32
	status             int32
	rest               [100]byte
}

func waitid(kind, id int, options uintptr) (Exit, bool, error) {
	var info siginfo
	for {
		_, _, errno := syscall.RawSyscall6(unix.SYS_WAITID, uintptr(kind), uintptr(id), uintptr(unsafe.Pointer(&info)), options, 0, 0)
		switch errno {
		case 0:
		case unix.EINTR:
			continue
		default:
			return Exit{}, false, errno
		}
		const exited, killed, dumped = 1, 2, 3
		switch info.code {
		case exited:
			return Exit{Code: int(info.status)}, true, nil
		case killed, dumped:
			return Exit{Signal: syscall.Signal(info.status), Core: info.code == dumped}, true, nil
		}
		return Exit{}, false, nil
	}
}

// pidfdInfo is struct pidfd_info of linux/pidfd.h, first version.
type pidfdInfo struct {
	mask, cgroup             uint64
	pid, tgid, ppid          uint32
	ruid, rgid, euid, egid   uint32
	suid, sgid, fsuid, fsgid uint32
	exitCode                 int32
}

// ExitOf returns how the process behind a pidfd ended, also one that is not our child (PIDFD_INFO_EXIT, Linux 6.15). The kernel
// knows it only after its parent has reaped it; until then, and on older kernels, ok is false.
func ExitOf(pidfd int) (e Exit, ok bool) {
	const infoExit = 8
	info := pidfdInfo{mask: infoExit}
	request := uintptr(0xc000ff0b) | unsafe.Sizeof(info)<<16 // _IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)
	if _, _, errno := syscall.RawSyscall(unix.SYS_IOCTL, uintptr(pidfd), request, uintptr(unsafe.Pointer(&info))); errno != 0 {
		return Exit{}, false
	}
	if info.mask&infoExit == 0 {
		return Exit{}, false
	}
	w := syscall.WaitStatus(uint32(info.exitCode))
	if w.Signaled() {
		return Exit{Signal: w.Signal(), Core: w.CoreDump()}, true
	}
	return Exit{Code: w.ExitStatus()}, true
}

// SignalProcess sends a signal to the process behind a pidfd. One that has exited is syscall.ESRCH.
func SignalProcess(pidfd int, sig syscall.Signal) error {
	_, _, errno := syscall.RawSyscall6(unix.SYS_PIDFD_SEND_SIGNAL, uintptr(pidfd), uintptr(sig), 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// IsPIDFD tells whether a descriptor is a pidfd, of a process that may have exited.
func IsPIDFD(fd int) bool { return SignalProcess(fd, 0) != syscall.EBADF }

// SetSubreaper makes this process the parent of its descendants' orphans, or no longer.
func SetSubreaper(on bool) error {
	v := uintptr(0)
	if on {
		v = 1
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, v, 0, 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("prctl PR_SET_CHILD_SUBREAPER", errno)
	}
	return nil
}

// ProcessStat is what /proc says about a process.
type ProcessStat struct {
	State                  byte // as in ps: R, S, D, Z …
	Parent, Group, Session int
	Start                  uint64 // clock ticks after boot
	Exiting                bool   // it is ending: its descriptors may be closed already, and its pidfd not be readable yet
}

// StatProcess reads /proc/PID/stat.
func StatProcess(pid int) (ProcessStat, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	b, err := os.ReadFile(path)
	if err != nil {
		return ProcessStat{}, err
	}
	s, ok := parseStat(string(b))
	if !ok {
		return ProcessStat{}, fmt.Errorf("%s has another form than expected", path)
	}
	return s, nil
}

func parseStat(line string) (s ProcessStat, ok bool) {
	end := strings.LastIndexByte(line, ')') // the program's name may hold anything
	if end < 0 {
		return s, false
	}
	f := strings.Fields(line[end+1:]) // f[0] is field 3
	if len(f) < 20 || len(f[0]) != 1 {
		return s, false
	}
	s.State = f[0][0]
	var err [4]error
	s.Parent, err[0] = strconv.Atoi(f[1])
	s.Group, err[1] = strconv.Atoi(f[2])
	s.Session, err[2] = strconv.Atoi(f[3])
	s.Start, err[3] = strconv.ParseUint(f[19], 10, 64)
	flags, bad := strconv.ParseUint(f[6], 10, 64)
	const exiting = 0x4 // PF_EXITING
	s.Exiting = flags&exiting != 0
	return s, err == [4]error{} && bad == nil
}

// BindDatagram makes a datagram socket, non-blocking and close-on-exec, that is told who sends (Message.Cred). name is a path, as for
// Listen, or, beginning with "@", a name in the abstract namespace, which users whom the folder shuts out reach too.
func BindDatagram(name string) (*FD, error) {
	n, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	fd := NewFD(n)
	if err = unix.Fchmod(n, 0o600); err == nil {
		err = unix.SetsockoptInt(n, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	}
	if err == nil && strings.HasPrefix(name, "@") {
		err = unix.Bind(n, &unix.SockaddrUnix{Name: name})
	} else if err == nil {
		err = withAddress(name, func(a *unix.SockaddrUnix) error { return unix.Bind(n, a) })
	}
	if err != nil {
		fd.Close()
		return nil, os.NewSyscallError("bind", err)
	}
	return fd, nil
}
