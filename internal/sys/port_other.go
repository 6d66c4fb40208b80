// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package sys

import (
	"errors"
	"syscall"
)

func PortPair() (receive, send *FD, err error)      { return nil, nil, errors.ErrUnsupported }
func SetSendBuffer(int, int) error                  { return errors.ErrUnsupported }
func SessionOf(int) (int, error)                    { return 0, errors.ErrUnsupported }
func SendBuffer(int) (int, error)                   { return 0, errors.ErrUnsupported }
func PeekEach(int, []byte, func([]byte, int)) error { return errors.ErrUnsupported }
func AskPIDFD(*syscall.SysProcAttr, *int)           {}
func PeerInode(int) (uint64, error)                 { return 0, errors.ErrUnsupported }
