// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// pidfsMagic is the file system of pidfds since Linux 6.9, whose inodes identify a process for good.
const pidfsMagic = 0x50494446

// PeerCred names who connected an accepted socket, or who made a socket pair (SO_PEERCRED).
func PeerCred(fd int) (Cred, error) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Cred{}, os.NewSyscallError("getsockopt SO_PEERCRED", err)
	}
	return Cred{PID: int(c.Pid), UID: int(c.Uid), GID: int(c.Gid)}, nil
}

// PeerPIDFD returns a pidfd of the same process (SO_PEERPIDFD, Linux 6.5). It fails when that process is
// gone (ESRCH or EINVAL).
func PeerPIDFD(fd int) (*FD, error) {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt SO_PEERPIDFD", err)
	}
	return NewFD(n), nil
}

// SetPassCred asks for (or declines) the credentials and the pidfd of whoever writes to fd's peer.
// A kernel without SO_PASSPIDFD gives credentials only.
func SetPassCred(fd int, on bool) error {
	v := 0
	if on {
		v = 1
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, v); err != nil {
		return os.NewSyscallError("setsockopt SO_PASSCRED", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSPIDFD, v); err != nil && err != unix.ENOPROTOOPT {
		return os.NewSyscallError("setsockopt SO_PASSPIDFD", err)
	}
	return nil
}

// PIDFDOpen opens a pidfd of pid, which must be known to be the process meant (a child not yet waited for).
func PIDFDOpen(pid int) (*FD, error) {
	n, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	return NewFD(n), nil
}

// Exited reports whether the process of a pidfd has exited.
func Exited(pidfd int) bool {
	p := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(p, 0)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n == 1 && p[0].Revents&unix.POLLIN != 0
	}
}

// ProcessID identifies a process for good: no later process has the same one.
type ProcessID struct {
	Inode uint64 // of its pidfd, on pidfs (Linux 6.9); else 0
	PID   int    // where Inode is 0: unique only while a pidfd of it is held
}

// ProcessIDOf returns the identity behind a pidfd.
func ProcessIDOf(pidfd int) (ProcessID, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(pidfd, &fs); err == nil && fs.Type == pidfsMagic {
		var st unix.Stat_t
		if err := unix.Fstat(pidfd, &st); err != nil {
			return ProcessID{}, os.NewSyscallError("fstat", err)
		}
		return ProcessID{Inode: st.Ino}, nil
	}
	b, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(pidfd))
	if err != nil {
		return ProcessID{}, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "Pid:"); ok {
			pid, err := strconv.Atoi(strings.TrimSpace(v))
			if err != nil || pid <= 0 {
				return ProcessID{}, fmt.Errorf("the process of descriptor %d has exited", pidfd)
			}
			return ProcessID{PID: pid}, nil
		}
	}
	return ProcessID{}, fmt.Errorf("descriptor %d is not a pidfd", pidfd)
}

// Executable returns the path of the program that pid runs, checked against its pidfd: if the process has
// exited meanwhile, the path may be another's and is not returned.
func Executable(pid, pidfd int) (string, error) {
	exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		return "", err
	}
	if pidfd >= 0 && Exited(pidfd) {
		return "", fmt.Errorf("process %d has exited", pid)
	}
	return exe, nil
}
