// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"os"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// living is the process at the other end of a connection, by its pidfd. A hang-up tells of its end as a rule, but not while a child that it
// forked has the connection, too.
type living struct {
	file *os.File
	raw  syscall.RawConn
}

// newLiving takes over a descriptor that the other side has sent. nil: it is no pidfd, or there is none, so that only hanging up counts.
// What is none is not waited for: the other side could make that take as long as it likes.
func newLiving(fd int) *living {
	f := sys.NewFD(fd)
	if !sys.IsPIDFD(fd) || sys.SetNonblock(fd, true) != nil {
		f.Close()
		return nil
	}
	file := os.NewFile(uintptr(f.Take()), "pidfd")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil
	}
	return &living{file, raw}
}

// await returns true when the process has exited, and false after close.
func (l *living) await() bool {
	exited := false
	_ = l.raw.Read(func(fd uintptr) bool {
		exited = sys.Exited(int(fd))
		return exited
	})
	return exited
}

func (l *living) close() {
	if l != nil {
		l.file.Close()
	}
}

// ownPIDFD is a pidfd of this process, to be sent; none where that cannot be.
func ownPIDFD() []*sys.FD {
	fd, err := sys.PIDFDOpen(os.Getpid())
	if err != nil {
		return nil
	}
	return []*sys.FD{fd}
}

// withOwnPIDFD calls send with the descriptors, and at the end of them a pidfd of this process.
func withOwnPIDFD(send func(fds ...int) error, fds ...int) error {
	for _, fd := range ownPIDFD() {
		defer fd.Close()
		fds = append(fds, fd.Int())
	}
	return send(fds...)
}
