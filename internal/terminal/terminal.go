// SPDX-License-Identifier: Apache-2.0

// Package terminal says what an output is, and what is wanted on it.
package terminal

import (
	"io"
	"os"
)

// Is says whether w is a terminal.
func Is(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// WantsColour says whether to print to w in colour: on a terminal, unless NO_COLOR or TERM says otherwise.
func WantsColour(w io.Writer) bool {
	return Is(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
