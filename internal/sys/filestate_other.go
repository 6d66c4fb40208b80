// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package sys

import "time"

// FileState is another for every file, and changes whenever the file does.
type FileState struct{}

// StateOf returns the state of the file at a path; nothing here.
func StateOf(path string, follow bool) (s FileState, ok bool) { return s, false }

// Settled reports whether the last change was long enough before a moment for the next one to show.
func (s FileState) Settled(at time.Time) bool { return false }

// IsLocal reports whether the file at a path is in a file system that never waits for somebody.
func IsLocal(path string) bool { return false }
