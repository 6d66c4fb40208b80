// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package sys

import "errors"

func PortPair() (receive, send *FD, err error) { return nil, nil, errors.ErrUnsupported }
func SetSendBuffer(int, int) error             { return errors.ErrUnsupported }
func SessionOf(int) (int, error)               { return 0, errors.ErrUnsupported }
