// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package sys

import "errors"

// CheckListener reports why fd is not a listening AF_UNIX socket of the type, or nil.
func CheckListener(int, SocketType) error { return errors.ErrUnsupported }

// CloseOnExec keeps an inherited descriptor from this process's children.
func CloseOnExec(int) {}

// Inherited reports whether a descriptor is open and this process's children get it.
func Inherited(int) bool { return true }
