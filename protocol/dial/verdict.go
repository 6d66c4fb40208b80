// SPDX-License-Identifier: Apache-2.0

package dial

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// MaxVerdict is the length of the longest verdict with its newline, in bytes.
const MaxVerdict = 4096

const (
	verdictOK  = "OK\n"
	verdictAt  = "AT "
	verdictErr = "ERR "
	lineBreak  = " | " // stands for a line break in a text
	codeDigits = 3     // a code is at most 255, as an exit code is
)

// Verdict answers a request. The zero value is OK: the connection is now the
// service's.
type Verdict struct {
	// Code is why there is no connection. It is session.OK for OK and AT.
	Code session.Code
	// Path is where to connect instead (AT), absolute; empty with OK and ERR.
	Path string
	// Text says with ERR what is wrong, for people. Empty stands for the
	// name of the code.
	Text string
}

// Append appends the verdict as one line of at most MaxVerdict bytes to b. In
// Text, line breaks become " | ", what is not UTF-8 becomes U+FFFD, and what is
// too long is cut. A path that is not absolute, has a line break or is too long
// cannot be written, and becomes an ERR 69 that says so.
func (v Verdict) Append(b []byte) []byte {
	switch {
	case v.Code == session.OK && v.Path == "":
		return append(b, verdictOK...)
	case v.Code == session.OK:
		if err := checkPath(v.Path); err != nil {
			return Verdict{Code: session.Unavailable, Text: err.Error()}.Append(b)
		}
		return append(append(append(b, verdictAt...), v.Path...), '\n')
	}
	start := len(b)
	b = append(b, verdictErr...)
	b = strconv.AppendUint(b, uint64(v.Code), 10)
	b = append(b, ' ')
	text := oneLine(v.Text)
	if text == "" {
		text = v.Code.String()
	}
	b = append(b, cut(text, MaxVerdict-(len(b)-start)-1)...)
	return append(b, '\n')
}

// checkPath says why a path cannot be a verdict's.
func checkPath(path string) error {
	switch {
	case path[0] != '/':
		return fmt.Errorf("the path of the service, %q, is not absolute", path)
	case strings.Contains(path, "\n"):
		return fmt.Errorf("the path of the service, %q, has a line break", path)
	case len(path) > MaxVerdict-len(verdictAt)-1:
		return fmt.Errorf("the path of the service has %d bytes, too many for a verdict", len(path))
	}
	return nil
}

// oneLine makes text a line.
func oneLine(text string) string {
	text = strings.Trim(strings.ToValidUTF8(text, "\uFFFD"), "\r\n")
	return strings.NewReplacer("\r\n", lineBreak, "\n", lineBreak, "\r", lineBreak).Replace(text)
}

// cut returns at most size bytes of text, whole characters only.
func cut(text string, size int) string {
	if len(text) <= size {
		return text
	}
	for !utf8.RuneStart(text[size]) {
		size--
	}
	return text[:size]
}

// ParseVerdict reads the verdict at the beginning of what has come. n is its
// length with the newline: what is behind it is the service's. n is 0 if it is
// not complete yet. It is an error if this cannot be a verdict or is longer than
// MaxVerdict. A code need not be one that has a name.
func ParseVerdict(b []byte) (v Verdict, n int, err error) {
	end := bytes.IndexByte(b[:min(len(b), MaxVerdict)], '\n')
	switch {
	case end < 0 && len(b) >= MaxVerdict:
		return Verdict{}, 0, fmt.Errorf("the answer is not a verdict: no end of line in %d bytes", MaxVerdict)
	case end < 0 && begins(b):
		return Verdict{}, 0, nil
	case end < 0:
		return Verdict{}, 0, notVerdict(b)
	}
	if string(b[:end+1]) == verdictOK {
		return Verdict{}, end + 1, nil
	}
	line := string(b[:end])
	if path, ok := strings.CutPrefix(line, verdictAt); ok && path != "" {
		if err := checkPath(path); err != nil {
			return Verdict{}, 0, err
		}
		return Verdict{Path: path}, end + 1, nil
	}
	if rest, ok := strings.CutPrefix(line, verdictErr); ok {
		digits, text, _ := strings.Cut(rest, " ")
		if code, ok := parseCode(digits); ok {
			if text = oneLine(text); text == "" {
				text = code.String()
			}
			return Verdict{Code: code, Text: text}, end + 1, nil
		}
	}
	return Verdict{}, 0, notVerdict(b)
}

// parseCode reads a code that is not OK, without signs or leading zeros.
func parseCode(digits string) (session.Code, bool) {
	if digits == "" || len(digits) > codeDigits || digits[0] < '1' || digits[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 8)
	return session.Code(n), err == nil
}

// begins reports whether b, without a newline, can become a verdict.
func begins(b []byte) bool {
	for _, start := range [...]string{verdictOK, verdictAt, verdictErr} {
		n := min(len(b), len(start))
		if string(b[:n]) == start[:n] {
			return true
		}
	}
	return false
}

func notVerdict(b []byte) error {
	const shown = 64
	if len(b) > shown {
		b = b[:shown]
	}
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[:i]
	}
	if len(b) == 0 {
		return errors.New("the answer is not a verdict: it is an empty line")
	}
	return fmt.Errorf("the answer is not a verdict: it begins with %q", b)
}
