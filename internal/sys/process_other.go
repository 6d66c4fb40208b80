// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package sys

import (
	"errors"
	"syscall"
)

// Exit is how a process ended.
type Exit struct {
	Code   int
	Signal syscall.Signal
	Core   bool
}

// ProcessStat is what the system says about a process.
type ProcessStat struct {
	State                  byte
	Parent, Group, Session int
	Start                  uint64
	Exiting                bool
}

// SocketFile identifies the file of a bound Unix socket.
type SocketFile struct {
	Device, Inode uint64
	Base          string
}

// SocketUse is what the kernel says about a bound Unix socket.
type SocketUse struct {
	Listening     bool
	Waiting, Open int
}

func CheckExecutable(string) error            { return errors.ErrUnsupported }
func SetCredentials(int, int, []int) error    { return errors.ErrUnsupported }
func ResetSignals()                           {}
func CloseOnExecFrom(int) error               { return errors.ErrUnsupported }
func DupTo(int, int) error                    { return errors.ErrUnsupported }
func DupAbove(int, int) (int, error)          { return -1, errors.ErrUnsupported }
func WaitPacket(int) ([]byte, error)          { return nil, errors.ErrUnsupported }
func WaitChild(int, bool) (Exit, bool, error) { return Exit{}, false, errors.ErrUnsupported }
func ReapChild(int) (Exit, bool, error)       { return Exit{}, false, errors.ErrUnsupported }
func ExitOf(int) (Exit, bool)                 { return Exit{}, false }
func SignalProcess(int, syscall.Signal) error { return errors.ErrUnsupported }
func IsPIDFD(int) bool                        { return false }
func SetSubreaper(bool) error                 { return errors.ErrUnsupported }
func StatProcess(int) (ProcessStat, error)    { return ProcessStat{}, errors.ErrUnsupported }
func BindDatagram(string) (*FD, error)        { return nil, errors.ErrUnsupported }
func StatSocket(string) (SocketFile, error)   { return SocketFile{}, errors.ErrUnsupported }
func ListeningAt(string) (bool, error)        { return false, errors.ErrUnsupported }
func UseOf([]SocketFile) ([]SocketUse, error) { return nil, errors.ErrUnsupported }
func NewWatch() (*FD, error)                  { return nil, errors.ErrUnsupported }
func WatchEntries(int, string) error          { return errors.ErrUnsupported }
func Inodes(string) (uint64, uint64, error)   { return 0, 0, errors.ErrUnsupported }
