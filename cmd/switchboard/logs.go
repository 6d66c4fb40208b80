// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	logFolder   = "log"  // in the runtime folder
	logSuffix   = ".log" // of what is being written; ".log.1" is what was before
	logPrevious = ".1"
	logLook     = 100 * time.Millisecond // between looks for more
)

func (a *app) logsCommand() *cobra.Command {
	var version string
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "print what the processes that the broker launched for a name wrote",
		Long: `Logs prints what the processes that the broker launched for NAME wrote to their standard error and, unless it is the
connection, their standard output. With --follow it waits until there is something, and goes on until it is interrupted, or its reader has gone. It needs no broker: the files are in
the folder log of the runtime folder, and outlive both the processes and the broker. What is old is dropped there.
Exit code 69: nothing was ever launched for NAME, or it was too long ago.`,
		Args: oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return a.logs(ctx, args[0], version, follow)
		},
	}
	cmd.Flags().StringVar(&version, "version", "", "of this version only, like 1.4.0")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on to print what is written")
	return cmd
}

func (a *app) logs(ctx context.Context, name, version string, follow bool) error {
	dir, err := a.folder()
	if err != nil {
		return err
	}
	l := &logReader{dir: filepath.Join(dir, logFolder), matches: logNames(name, version), out: a.stdout, at: make(map[string]int64)}
	found, err := l.look(true)
	switch {
	case err != nil || found:
	case follow:
		a.say("no log of %s in %s yet: waiting until something is launched for it", name, l.dir)
	default:
		err = &codeError{exitUnavailable, fmt.Errorf("no log of %s in %s: nothing was launched for it", name, l.dir)}
	}
	if follow {
		var stop context.CancelFunc
		ctx, stop = whileRead(ctx, a.stdout)
		defer stop()
	}
	for err == nil && follow {
		if pause(ctx, logLook); ctx.Err() != nil {
			return nil
		}
		_, err = l.look(false)
	}
	return err
}

// logNames matches the logs of a name: NAME.log, NAME@VERSION.log, and either with +HASH behind it.
func logNames(name, version string) *regexp.Regexp {
	of := `(@.*)?`
	if version != "" {
		of = "@" + regexp.QuoteMeta(version)
	}
	return regexp.MustCompile("^" + regexp.QuoteMeta(name) + of + `(\+[0-9a-f]+)?` + regexp.QuoteMeta(logSuffix) + "$")
}

// logReader prints logs as they grow.
type logReader struct {
	dir     string
	matches *regexp.Regexp
	out     io.Writer
	last    string           // which was printed last
	at      map[string]int64 // how far each has been printed
}

// look prints what is new, in the order in which the logs were last written. The first time, that is everything.
func (l *logReader) look(first bool) (found bool, err error) {
	logs, err := l.list()
	if err != nil {
		return false, err
	}
	for _, info := range logs {
		path := filepath.Join(l.dir, info.Name())
		at, known := l.at[path]
		switch {
		case known && info.Size() >= at:
		case known: // it was copied to the other file, and emptied
			if err := l.print(path+logPrevious, at, len(logs) > 1); err != nil {
				return true, err
			}
			l.at[path] = 0
		case first:
			if err := l.print(path+logPrevious, 0, len(logs) > 1); err != nil {
				return true, err
			}
		}
		if err := l.print(path, l.at[path], len(logs) > 1); err != nil {
			return true, err
		}
	}
	return len(logs) > 0, nil
}

// list returns the logs, the one that was written last behind the others.
func (l *logReader) list() ([]os.FileInfo, error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the logs: %w", err)
	}
	var logs []os.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && l.matches.MatchString(e.Name()) && info.Mode().IsRegular() {
			logs = append(logs, info)
		}
	}
	slices.SortStableFunc(logs, func(a, b os.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	return logs, nil
}

// print prints a file from an offset on, and remembers how far that was. Where there are several logs, a line says which one it is.
func (l *logReader) print(path string, from int64, several bool) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the log: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() <= from {
		l.at[path] = from
		return err
	}
	log := strings.TrimSuffix(path, logPrevious)
	if several && l.last != log {
		title := strings.TrimSuffix(filepath.Base(log), logSuffix)
		if _, err := fmt.Fprintf(l.out, "==> %s <==\n", title); err != nil {
			return err
		}
	}
	l.last = log
	n, err := io.Copy(l.out, io.NewSectionReader(file, from, info.Size()-from))
	l.at[path] = from + n
	return err
}
