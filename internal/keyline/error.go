// SPDX-License-Identifier: Apache-2.0

package keyline

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
)

// Error says what is wrong with a configuration file, where, and what to do about it.
type Error struct {
	File   string // "" if it was not read from a file
	Line   int    // counted from 1; 0 if the fault is in no line of the text (owner, mode, size, a missing file)
	Reason string // for people; one line
	Err    error  // the system's error behind it, or nil
}

// Error returns "FILE:LINE: reason", without the parts that are not known.
func (e *Error) Error() string {
	switch {
	case e.File == "":
		return e.Reason
	case e.Line == 0:
		return e.File + ": " + e.Reason
	}
	return e.File + ":" + strconv.Itoa(e.Line) + ": " + e.Reason
}

// Unwrap returns the system's error, for errors.Is(err, fs.ErrNotExist) and the like.
func (e *Error) Unwrap() error { return e.Err }

// SystemError makes an Error of what a call on a file returned. The file's path, which such errors carry, is not said twice.
func SystemError(file, doing string, err error) *Error {
	text := err.Error()
	var p *fs.PathError
	if errors.As(err, &p) {
		text = p.Err.Error()
	}
	return &Error{File: file, Reason: "cannot " + doing + ": " + text, Err: err}
}

// Clip shortens what an error quotes.
func Clip(s string) string {
	const shown = 64
	if len(s) > shown {
		return strings.ToValidUTF8(s[:shown], "") + "…"
	}
	return s
}
