// SPDX-License-Identifier: Apache-2.0

// Package sys is the project's only door to raw system calls and unsafe memory.
//
// It wraps what the standard library does not offer, or offers at a cost that the hot path cannot
// pay: packets with descriptors and credentials, peer identity by pidfd, one epoll set, the kernel's
// list of Unix sockets. Every function here does one thing to descriptors that the caller owns;
// none keeps state. Errors are plain syscall.Errno values where the caller acts on them (EAGAIN),
// and *os.SyscallError otherwise.
//
// Outside Linux everything returns errors.ErrUnsupported.
package sys
