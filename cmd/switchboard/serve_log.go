// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/lmittmann/tint"
)

// logLimit is the size beyond which the log of a broker is put aside when the next one begins.
const logLimit = 1 << 20

// newLogger makes the log of serve: text for people on a terminal, JSON lines elsewhere.
func newLogger(w io.Writer, format logFormat, level slog.Leveler) *slog.Logger {
	if format == "text" || format != "json" && isTerminal(w) {
		return slog.New(tint.NewTextHandler(w, &tint.Options{
			Level: level, TimeFormat: time.TimeOnly, NoColor: !wantsColour(w),
		}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

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
