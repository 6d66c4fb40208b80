// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// ErrNotFound is returned for the name of a network that no file has and that is not built in.
var ErrNotFound = errors.New("there is no network of this name")

// Error says what is wrong with a network's file, where, and what to do about it.
type Error struct {
	File   string // "" if it was not read from a file
	Line   int    // counted from 1; 0 if the fault is in no line of the text (owner, mode, size)
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

// Unwrap returns the system's error, for errors.Is(err, fs.ErrPermission) and the like.
func (e *Error) Unwrap() error { return e.Err }

// systemError makes an Error of what a call on a file returned, without the path, which is in File.
func systemError(file, doing string, err error) *Error {
	text := err.Error()
	var p *fs.PathError
	if errors.As(err, &p) {
		text = p.Err.Error()
	}
	return &Error{File: file, Reason: "cannot " + doing + ": " + text, Err: err}
}

// fault is what is wrong with one key.
type fault struct {
	key    string // "mtu", "allow_uid[2]", "port_forwarding_rules[0].protocol"; "": the whole
	reason string
}

func faultf(key, format string, args ...any) *fault {
	return &fault{key: key, reason: fmt.Sprintf(format, args...)}
}

// clip shortens what an error quotes.
func clip(s string) string {
	const shown = 64
	if len(s) > shown {
		return strings.ToValidUTF8(s[:shown], "") + "…"
	}
	return s
}
