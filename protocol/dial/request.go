// SPDX-License-Identifier: Apache-2.0

// Package dial reads and writes the line with which a program in any language
// calls a name, and the verdict that answers it (docs/session.md, section 2).
// Bytes in, values out: it knows no sockets.
//
//	line := dial.Request{Name: "com.example.up"}.Append(nil) // "DIAL com.example.up\n"
//
// and, of what the broker or the service answers,
//
//	v, n, err := dial.ParseVerdict(answer) // n == 0: read on; answer[n:] is the service's
package dial

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/switchboard-ipc/switchboard/internal/name"
)

// MaxRequest is the length of the longest request with its newline, in bytes.
const MaxRequest = 512

const (
	verb     = "DIAL "
	version  = "version"
	scope    = "scope"
	ended    = "ended"
	lineRule = `write "DIAL name[ version=CONSTRAINT][ scope=/PATH]" and a newline`
)

// Request asks for a connection to a name.
type Request struct {
	Name    string
	Version string // a constraint such as ^1.2 or >=1.2,<2; empty: any
	Scope   string // an absolute path; empty: any
	// Ended makes the request a question, which launches nothing: why did the process with this id end, which listened at the path of an
	// earlier verdict? The answer is an error, or OK if there is nothing to say. 0: it is no question.
	Ended int32
}

// Check says why the request cannot be written as a line, with the text of
// [ParseRequest]: the name must be one, the version must be free of spaces and
// control characters, both it and the scope must be UTF-8, the scope must be
// absolute, and all must fit in MaxRequest.
func (r Request) Check() error {
	if err := name.Check(r.Name); err != nil {
		return err
	}
	if r.Version != "" {
		if err := checkValue(version, r.Version); err != nil {
			return err
		}
	}
	if r.Scope != "" {
		if err := checkScope(r.Scope); err != nil {
			return err
		}
	}
	if r.Ended < 0 {
		return fmt.Errorf("%s %d is not the id of a process", ended, r.Ended)
	}
	if size := r.size(); size > MaxRequest {
		return fmt.Errorf("the request has %d bytes, more than %d", size, MaxRequest)
	}
	return nil
}

// Append appends the line with its newline to b. It checks nothing: see Check.
func (r Request) Append(b []byte) []byte {
	b = append(b, verb...)
	b = append(b, r.Name...)
	if r.Version != "" {
		b = append(append(append(b, ' '), version+"="...), r.Version...)
	}
	if r.Scope != "" {
		b = appendEscaped(append(append(b, ' '), scope+"="...), r.Scope)
	}
	if r.Ended != 0 {
		b = strconv.AppendInt(append(append(b, ' '), ended+"="...), int64(r.Ended), 10)
	}
	return append(b, '\n')
}

// appendEscaped writes a scope as it stands in a line: bytes that separate are written as % and two hexadecimal digits.
func appendEscaped(b []byte, scope string) []byte {
	for i := range len(scope) {
		if c := scope[i]; separates(c) || c == '%' {
			b = fmt.Appendf(b, "%%%02X", c)
		} else {
			b = append(b, c)
		}
	}
	return b
}

// unescape is the inverse of appendEscaped.
func unescape(value string) (string, error) {
	if !strings.Contains(value, "%") {
		return value, nil
	}
	var b []byte
	for i := 0; i < len(value); i++ {
		if value[i] != '%' {
			b = append(b, value[i])
			continue
		}
		c, err := hex.DecodeString(value[i+1 : min(i+3, len(value))])
		if err != nil || len(c) != 1 {
			return "", fmt.Errorf("scope %q has a %% at byte %d without two hexadecimal digits: write %%25 for a %%", value, i+1)
		}
		b = append(b, c[0])
		i += 2
	}
	return string(b), nil
}

func separates(c byte) bool { return c <= ' ' || c == 0x7f }

// size is the length of what Append appends.
func (r Request) size() int {
	n := len(verb) + len(r.Name) + len("\n")
	if r.Version != "" {
		n += len(" "+version+"=") + len(r.Version)
	}
	if r.Scope != "" {
		n += len(" "+scope+"=") + len(appendEscaped(nil, r.Scope))
	}
	if r.Ended != 0 {
		n += len(" "+ended+"=") + len(strconv.Itoa(int(r.Ended)))
	}
	return n
}

// Begins reports whether peeked, which may be short of its newline, is how a
// request can begin. If not, there is no need to wait for the rest.
func Begins(peeked []byte) bool {
	n := min(len(peeked), len(verb))
	return string(peeked[:n]) == verb[:n]
}

// Complete looks for the end of the request in what has come so far. n is the
// length of the line with its newline, at most MaxRequest; ok is false if there
// is none yet. If ok is false and peeked has MaxRequest bytes or more, the line
// is too long.
func Complete(peeked []byte) (n int, ok bool) {
	end := bytes.IndexByte(peeked[:min(len(peeked), MaxRequest)], '\n')
	return end + 1, end >= 0
}

// ParseRequest reads a line with its newline. Its errors are for the verdict,
// with code 64: they say what is wrong and where.
func ParseRequest(line []byte) (Request, error) {
	switch {
	case len(line) > MaxRequest:
		return Request{}, fmt.Errorf("the request is longer than %d bytes", MaxRequest)
	case len(line) < len(verb) || !Begins(line):
		return Request{}, errors.New("this is not a request: " + lineRule)
	case bytes.IndexByte(line, '\n') != len(line)-1:
		return Request{}, errors.New("the request is not one line: " + lineRule)
	}
	rest := string(line[len(verb) : len(line)-1])

	var r Request
	first, rest, more := strings.Cut(rest, " ")
	if err := name.Check(first); err != nil {
		return Request{}, err
	}
	r.Name = first
	for at := len(verb) + len(first) + 1; more; {
		var field string
		field, rest, more = strings.Cut(rest, " ")
		if err := r.set(field, at+1); err != nil {
			return Request{}, err
		}
		at += len(field) + 1
	}
	return r, nil
}

// set takes one field, which begins at that byte of the line, counted from 1.
func (r *Request) set(field string, at int) error {
	key, value, _ := strings.Cut(field, "=")
	var into *string
	switch {
	case field == "":
		return fmt.Errorf("a field is missing at byte %d: single spaces separate the fields", at)
	case key == version:
		into = &r.Version
	case key == scope:
		into = &r.Scope
	case key == ended:
		return r.setEnded(value, at)
	default:
		return fmt.Errorf("unknown field %q at byte %d: %s", key, at, lineRule)
	}
	switch {
	case *into != "":
		return fmt.Errorf("a second field %q at byte %d", key, at)
	case value == "":
		return fmt.Errorf("field %q at byte %d has no value: leave it out, or write %s=VALUE", key, at, key)
	}
	if err := checkValue(key, value); err != nil {
		return fmt.Errorf("field at byte %d: %w", at, err)
	}
	if key == scope {
		var err error
		if value, err = unescape(value); err == nil {
			err = checkScope(value)
		}
		if err != nil {
			return fmt.Errorf("field at byte %d: %w", at, err)
		}
	}
	*into = value
	return nil
}

func (r *Request) setEnded(value string, at int) error {
	if r.Ended != 0 {
		return fmt.Errorf("a second field %q at byte %d", ended, at)
	}
	pid, err := strconv.ParseInt(value, 10, 32)
	if err != nil || pid <= 0 || value[0] == '+' || value[0] == '0' {
		return fmt.Errorf("field at byte %d: %s %q is not the id of a process", at, ended, value)
	}
	r.Ended = int32(pid)
	return nil
}

// checkValue says what is wrong with the value of a field.
func checkValue(key, value string) error {
	if !utf8.ValidString(value) {
		return fmt.Errorf("%s %q is not UTF-8", key, value)
	}
	for i := range len(value) {
		if c := value[i]; separates(c) {
			return fmt.Errorf("%s %q has %q at byte %d: spaces and control characters are not allowed", key, value, c, i+1)
		}
	}
	return nil
}

// checkScope says what is wrong with a folder.
func checkScope(folder string) error {
	switch {
	case !utf8.ValidString(folder):
		return fmt.Errorf("scope %q is not UTF-8", folder)
	case folder[0] != '/':
		return fmt.Errorf("scope %q is not an absolute path", folder)
	case strings.IndexByte(folder, 0) >= 0:
		return fmt.Errorf("scope %q has a zero byte, which no path has", folder)
	}
	return nil
}
