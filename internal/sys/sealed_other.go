// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package sys

import "errors"

func SealedMemory(string, []byte) (*FD, error) { return nil, errors.ErrUnsupported }
func SealedSize(int) (int64, error)            { return 0, errors.ErrUnsupported }
func ReadSealed(int, int) ([]byte, error)      { return nil, errors.ErrUnsupported }
func MapSealed(int, int) ([]byte, error)       { return nil, errors.ErrUnsupported }
func Unmap([]byte) error                       { return errors.ErrUnsupported }
func HungUp(int) bool                          { return false }
func Ended(int) bool                           { return false }
