// SPDX-License-Identifier: Apache-2.0

// Package serverlog makes the logs of the programs that serve.
package serverlog

import (
	"io"
	"log/slog"
	"time"

	"github.com/lmittmann/tint"

	"github.com/switchboard-ipc/switchboard/internal/terminal"
)

// New makes a log. The format is "text", for people, or "json", a line for each record; anything else is text on a terminal, and JSON elsewhere.
func New(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	if format == "text" || format != "json" && terminal.Is(w) {
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !terminal.WantsColour(w)}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}
