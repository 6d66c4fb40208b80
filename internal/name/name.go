// SPDX-License-Identifier: Apache-2.0

// Package name holds the rule for names and the patterns that select them
// (docs/session.md, section 8). Every front and the directory use this one.
package name

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Max is the length of the longest name, in bytes.
const Max = 127

// shown is how much of an offending text an error quotes, in bytes.
const shown = 64

const (
	nameRule    = `a name is 1 to 127 printable ASCII characters without space, "/", "*" and "@", and not "." or ".."`
	patternRule = `a pattern is a name, "*" for all names, or a name followed by ".*" for all below it`
)

// Error says why a text is not a name or not a pattern. Its text names the
// character and its place, and ends with the rule.
type Error struct {
	// Text is what was refused.
	Text string
	// Byte is the place of the character that is not allowed, counted from 1;
	// 0 if the fault is not in one character (empty, too long, "." or "..").
	Byte int

	subject, fault, rule string
}

// Error returns for example
//
//	name "com/x" has '/' at byte 4: a name is 1 to 127 printable ASCII …
func (e *Error) Error() string {
	text := e.Text
	if len(text) > shown {
		text = text[:shown] + "…"
	}
	return fmt.Sprintf("%s %q %s: %s", e.subject, text, e.fault, e.rule)
}

// Check returns nil if s is a name, else an [*Error].
func Check(s string) error {
	if fault, at := inspect(s); fault != "" {
		return &Error{Text: s, Byte: at, subject: "name", fault: fault, rule: nameRule}
	}
	return nil
}

// inspect returns what is wrong with s as a name, "" if nothing is, and the
// place of the character at fault, counted from 1.
func inspect(s string) (fault string, at int) {
	switch {
	case s == "":
		return "is empty", 0
	case s == "." || s == "..":
		return "is reserved", 0
	case len(s) > Max:
		return fmt.Sprintf("has %d bytes", len(s)), 0
	}
	for i := range len(s) {
		if !allowed(s[i]) {
			return fmt.Sprintf("has %s at byte %d", character(s[i:]), i+1), i + 1
		}
	}
	return "", 0
}

func allowed(c byte) bool {
	return 0x21 <= c && c <= 0x7e && c != '/' && c != '*' && c != '@'
}

// character names the first character of s as people look for it.
func character(s string) string {
	r, size := utf8.DecodeRuneInString(s)
	switch {
	case r == utf8.RuneError && size <= 1:
		return fmt.Sprintf("0x%02x", s[0])
	case r == ' ':
		return "a space"
	case !unicode.IsPrint(r):
		return fmt.Sprintf("%q (%U)", r, r)
	}
	return fmt.Sprintf("%q", r)
}
