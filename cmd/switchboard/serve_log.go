// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
)

// logLimit is the size beyond which the log of a broker is put aside when the next one begins.
const logLimit = 1 << 20

// logFile is the log of a broker without a terminal or an output: log/broker.log in its folder. It comes to be with
// the first line, because the folder is the broker's to make and to check. Not safe for concurrent use: slog's
// handlers write one line at a time.
type logFile struct {
	dir string
	f   *os.File
}

// Write appends one line.
func (l *logFile) Write(line []byte) (int, error) {
	if l.f == nil {
		f, err := openLog(filepath.Join(l.dir, "log"))
		if err != nil {
			return 0, err
		}
		l.f = f
		_ = debug.SetCrashOutput(f, debug.CrashOptions{}) // where a crash is told, too
	}
	return l.f.Write(line)
}

// openLog opens broker.log in dir for appending; a long one is put aside first.
func openLog(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder of the log: %w", err)
	}
	path := filepath.Join(dir, "broker.log")
	if info, err := os.Stat(path); err == nil && info.Size() > logLimit {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, fmt.Errorf("cannot put the old log aside: %w", err)
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}
