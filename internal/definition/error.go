// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"errors"
	"io/fs"
	"strconv"
)

// Error says what is wrong with a definition, where, and what to do about it.
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

// systemError makes an Error of what a call on a file returned. The file's path, which such
// errors carry, is not said twice.
func systemError(file, doing string, err error) *Error {
	text := err.Error()
	var p *fs.PathError
	if errors.As(err, &p) {
		text = p.Err.Error()
	}
	return &Error{File: file, Reason: "cannot " + doing + ": " + text, Err: err}
}
