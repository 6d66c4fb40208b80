// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxLog is the size at which a log is rotated, in bytes.
	MaxLog = 1 << 20
	// MaxLine is how much of a line Tail quotes, in bytes.
	MaxLine = 400

	tailWindow = 64 << 10 // how far back Tail looks
)

// Log is the file that takes the output of backends. Several may write to it; it outlives the broker.
type Log struct {
	*os.File
	Path string
}

// OpenLog opens FOLDER/BASE.log for appending, readable by its owner only, and makes it and the folder if need be.
func OpenLog(folder, base string) (*Log, error) {
	path := filepath.Join(folder, base+".log")
	open := func() (*os.File, error) {
		return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	}
	f, err := open()
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(folder, 0o700); err == nil {
			f, err = open()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open a log: %w", err)
	}
	return &Log{File: f, Path: path}, nil
}

// Offset is where the next byte goes: what Tail needs to tell new lines from old ones.
func (l *Log) Offset() int64 {
	st, err := l.Stat()
	if err != nil {
		return 0
	}
	return st.Size()
}

// Tail returns the last n lines of a log that were written since an offset, without empty ones, each cut at MaxLine bytes and made
// printable. A log that is shorter than the offset was rotated, and read from its beginning.
func Tail(path string, from int64, n int) []string {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil
	}
	if from > st.Size() {
		from = 0
	}
	from = max(from, st.Size()-tailWindow)
	b, err := io.ReadAll(io.NewSectionReader(f, from, st.Size()-from))
	if err != nil {
		return nil
	}
	var list []string
	for len(b) > 0 && len(list) < n {
		b = bytes.TrimRight(b, "\n\r \t")
		at := bytes.LastIndexByte(b, '\n') + 1
		if line := printable(b[at:]); line != "" {
			list = append(list, line)
		}
		b = b[:at]
	}
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list
}

// printable makes one line fit to be shown: valid UTF-8, no control characters (colours are taken out), at most MaxLine bytes.
func printable(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		if n := escape(b); n > 0 {
			b = b[n:]
			continue
		}
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		switch {
		case r == '\t':
			r = ' '
		case !unicode.IsPrint(r):
			r = utf8.RuneError
		}
		if s.Len()+utf8.RuneLen(r) > MaxLine-len("…") {
			s.WriteString("…")
			break
		}
		s.WriteRune(r)
	}
	return strings.TrimSpace(s.String())
}

// escape returns the length of the terminal sequence ESC [ … at the front of b, or 0.
func escape(b []byte) int {
	if len(b) < 3 || b[0] != 0x1b || b[1] != '[' {
		return 0
	}
	for i := 2; i < len(b); i++ {
		if b[i] >= '@' && b[i] <= '~' {
			return i + 1
		}
	}
	return 0
}

// Rotate keeps a log bounded: one larger than limit bytes is copied to PATH.1 (its last limit bytes) and emptied, which those who
// append to it do not notice. It reports whether it did. What is written between the copy and the emptying is lost.
func Rotate(path string, limit int64) (bool, error) {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil || st.Size() <= limit {
		return false, err
	}
	if err := rotate(path, limit); err != nil {
		return false, fmt.Errorf("cannot rotate the log %s: %w", path, err)
	}
	return true, nil
}

func rotate(path string, limit int64) error {
	from, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	old := path + ".1"
	if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	to, err := os.OpenFile(old, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer to.Close()
	st, err := from.Stat()
	if err != nil {
		return err
	}
	if _, err := from.Seek(max(0, st.Size()-limit), io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(to, io.LimitReader(from, 2*limit)); err != nil { // bounded, however fast it is written
		return err
	}
	return from.Truncate(0)
}
