// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard/frames"
	"github.com/switchboard-ipc/switchboard/internal/picture"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/internal/terminal"
)

type viewFlags struct {
	readFlags
	sixel bool
	rate  int
}

func (a *app) framesViewCommand() *cobra.Command {
	var flags viewFlags
	cmd := &cobra.Command{
		Use:   "view NAME",
		Short: "show the pictures in the terminal",
		Long: `View shows the pictures of a channel in the terminal, in half blocks of true colour or, with --sixel, as sixels, with how many there are in
a second, how old they are when they are read (latency), and how many it dropped, since newer ones had come. Where stdout is no terminal it shows one.`,
		Args: oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return a.view(ctx, args[0], flags)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&flags.sixel, "sixel", false, "draw sixels, for terminals that know them")
	cmd.Flags().IntVar(&flags.rate, "rate", 30, "draw at most so many pictures a second")
	return cmd
}

func (a *app) view(ctx context.Context, name string, flags viewFlags) error {
	v := &viewer{app: a, name: name, sixel: flags.sixel, pause: time.Second / time.Duration(max(flags.rate, 1)), terminal: terminal.Is(a.stdout)}
	if !v.terminal && flags.frames == 0 {
		flags.frames = 1
	}
	if v.terminal {
		fmt.Fprint(a.stdout, "\x1b[?25l\x1b[2J")
		defer fmt.Fprint(a.stdout, "\x1b[?25h\x1b[0m\n")
	}
	_, err := a.read(ctx, name, flags.readFlags, frames.Latest, v.show)
	return err
}

// viewer draws pictures in the terminal.
type viewer struct {
	app             *app
	name            string
	sixel, terminal bool
	pause           time.Duration
	out             []byte

	drawn               time.Time
	since               time.Time // when counting for the line below the picture began
	seen, missed, total uint64
	age, oldest         time.Duration
	what, numbers       string // below the picture
	columns, rows       int    // of the terminal, when the last one was drawn
	format              string // of that
}

// show counts a frame, and draws it if the last one was drawn long enough ago.
func (v *viewer) show(f *frames.Frame) error {
	age := time.Duration(frames.Now() - f.Published)
	v.seen++
	v.missed += f.Missed
	v.total += f.Missed
	v.age += age
	v.oldest = max(v.oldest, age)
	now := time.Now()
	if v.what == "" || now.Sub(v.since) >= time.Second {
		v.count(f, now)
	}
	if now.Sub(v.drawn) < v.pause {
		return nil
	}
	v.drawn = now
	s, err := picture.New(f.Format(), planesOf(f))
	if err != nil {
		return err
	}
	columns, rows, width, height := v.size()
	below := v.below(columns, rows)
	v.out = v.out[:0]
	if v.terminal {
		v.out = append(v.out, "\x1b[H"...)
		if columns != v.columns || rows != v.rows || f.Format().String() != v.format {
			v.columns, v.rows, v.format = columns, rows, f.Format().String()
			v.out = append(v.out, "\x1b[2J"...)
		}
	}
	if v.sixel {
		if width == 0 || height == 0 {
			width, height = columns*8, rows*16
		}
		v.out = append(s.Sixel(v.out, width, height*(rows-len(below))/rows), '\n')
	} else {
		v.out = s.Blocks(v.out, columns, rows-len(below))
	}
	for i, line := range below {
		if i > 0 {
			v.out = append(v.out, '\n')
		}
		v.out = append(v.out, line...)
		if v.terminal {
			v.out = append(v.out, "\x1b[K"...)
		}
	}
	if !v.terminal {
		v.out = append(v.out, '\n')
	}
	_, err = v.app.stdout.Write(v.out)
	return err
}

// below is what stands below the picture: one line if the terminal is wide enough, else two if it is high enough, and none is wider.
func (v *viewer) below(columns, rows int) []string {
	lines := []string{v.what + "  " + v.numbers}
	if !v.terminal || utf8.RuneCountInString(lines[0]) <= columns {
		return lines
	}
	if lines = []string{v.what, v.numbers}; rows < 4 {
		lines = lines[1:]
	}
	for i, line := range lines {
		if r := []rune(line); len(r) > columns {
			lines[i] = string(r[:columns])
		}
	}
	return lines
}

// count makes what stands below the picture anew, once a second. Before the first second is over, the rate is that of the format.
func (v *viewer) count(f *frames.Frame, now time.Time) {
	rate := ""
	if said := f.Format().Rate; !v.since.IsZero() {
		rate = fmt.Sprintf("%.1f fps, ", float64(v.seen+v.missed)/now.Sub(v.since).Seconds())
	} else if said.Num > 0 && said.Den > 0 {
		rate = fmt.Sprintf("%.1f fps, ", float64(said.Num)/float64(said.Den))
	}
	v.what = fmt.Sprintf("%s  %v", v.name, f.Format())
	v.numbers = fmt.Sprintf("%slatency %v (most %v), %d dropped", rate, rounded(v.age/time.Duration(max(v.seen, 1))), rounded(v.oldest), v.total)
	v.since, v.seen, v.missed, v.age, v.oldest = now, 0, 0, 0, 0
}

func rounded(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return d.Round(time.Microsecond)
	}
	return d.Round(100 * time.Microsecond)
}

// size returns the terminal's: what it says, else what the environment says, else 80 by 24.
func (v *viewer) size() (columns, rows, width, height int) {
	if f, ok := v.app.stdout.(*os.File); ok {
		columns, rows, width, height = sys.TerminalSize(int(f.Fd()))
	}
	if columns == 0 || rows == 0 {
		columns, rows = fromEnvironment("COLUMNS", 80), fromEnvironment("LINES", 24)
	}
	return columns, max(rows, 2), width, height
}

func fromEnvironment(variable string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil && n > 1 && n < 1000 {
		return n
	}
	return otherwise
}
