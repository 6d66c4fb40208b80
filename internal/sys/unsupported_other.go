// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package sys

import (
	"errors"
	"syscall"
	"time"
)

// SocketType is the type of an AF_UNIX socket.
type SocketType int

// The two types that Switchboard uses.
const (
	Stream    SocketType = syscall.SOCK_STREAM
	Seqpacket SocketType = syscall.SOCK_SEQPACKET
)

// Buffer receives packets; on this system it never does.
type Buffer struct {
	Data []byte
	Message
}

// NewBuffer makes a buffer.
func NewBuffer(size int) *Buffer { return &Buffer{Data: make([]byte, size)} }

func (b *Buffer) Recv(int) (int, error)       { return 0, errors.ErrUnsupported }
func (b *Buffer) RecvN(int, int) (int, error) { return 0, errors.ErrUnsupported }

func Send(int, []byte, ...int) (int, error)              { return 0, errors.ErrUnsupported }
func Peek(int, []byte) (int, error)                      { return 0, errors.ErrUnsupported }
func Read(int, []byte) (int, error)                      { return 0, errors.ErrUnsupported }
func Unread(int) (int, error)                            { return 0, errors.ErrUnsupported }
func Pair(SocketType) (a, b *FD, err error)              { return nil, nil, errors.ErrUnsupported }
func Connect(string, SocketType, bool) (*FD, error)      { return nil, errors.ErrUnsupported }
func Listen(string, SocketType, int) (*FD, error)        { return nil, errors.ErrUnsupported }
func Relisten(int, int) error                            { return errors.ErrUnsupported }
func Accept(int) (int, error)                            { return -1, errors.ErrUnsupported }
func CheckSocket(int, ...SocketType) (SocketType, error) { return 0, errors.ErrUnsupported }
func ShutdownWrite(int) error                            { return errors.ErrUnsupported }
func Shutdown(int) error                                 { return errors.ErrUnsupported }
func SetNonblock(int, bool) error                        { return errors.ErrUnsupported }
func Dup(int) (*FD, error)                               { return nil, errors.ErrUnsupported }
func IsTemporary(error) bool                             { return false }
func PeerCred(int) (Cred, error)                         { return Cred{}, errors.ErrUnsupported }
func PeerPIDFD(int) (*FD, error)                         { return nil, errors.ErrUnsupported }
func SetPassCred(int, bool) error                        { return errors.ErrUnsupported }
func PIDFDOpen(int) (*FD, error)                         { return nil, errors.ErrUnsupported }
func Exited(int) bool                                    { return false }
func Executable(int, int) (string, error)                { return "", errors.ErrUnsupported }
func Connected(func(uint64)) error                       { return errors.ErrUnsupported }
func OpenFolder(string) (*FD, error)                     { return nil, errors.ErrUnsupported }
func Lock(int, bool) error                               { return errors.ErrUnsupported }
func StatFolder(int) (FolderStat, error)                 { return FolderStat{}, errors.ErrUnsupported }
func LstatFolder(string) (FolderStat, error)             { return FolderStat{}, errors.ErrUnsupported }
func WatchFolder(string) (*FD, error)                    { return nil, errors.ErrUnsupported }
func Cookie(int) (uint64, error)                         { return 0, errors.ErrUnsupported }
func Monotonic() int64                                   { return 0 }
func DrainWatch(int)                                     {}
func DescriptorLimit() (int, error)                      { return 0, errors.ErrUnsupported }
func Sandboxed() string                                  { return "" }
func ProcStatus(string) (map[string]string, error)       { return nil, errors.ErrUnsupported }

// ProcessID identifies a process for good.
type ProcessID struct {
	Inode uint64
	PID   int
}

func ProcessIDOf(int) (ProcessID, error) { return ProcessID{}, errors.ErrUnsupported }

// FolderID tells folders apart.
type FolderID struct{ Device, Inode uint64 }

// FolderStat is what the rules for a runtime folder look at.
type FolderStat struct {
	ID      FolderID
	UID     int
	Mode    uint32
	IsDir   bool
	Deleted bool
}

// Readiness of a descriptor in a Poller.
const (
	Readable uint32 = 1 << iota
	Writable
	HangUp
	ReadEnd
	Once
	Edge
)

// Poller waits for descriptors; on this system there is none.
type Poller struct{}

// Ready is one descriptor's readiness.
type Ready struct {
	Token  uint64
	Events uint32
}

func NewPoller() (*Poller, error)                          { return nil, errors.ErrUnsupported }
func (p *Poller) Add(int, uint32, uint64) error            { return errors.ErrUnsupported }
func (p *Poller) Modify(int, uint32, uint64) error         { return errors.ErrUnsupported }
func (p *Poller) Remove(int) error                         { return errors.ErrUnsupported }
func (p *Poller) Wake()                                    {}
func (p *Poller) Wait(time.Time, []Ready) ([]Ready, error) { return nil, errors.ErrUnsupported }
func (p *Poller) Close()                                   {}
