// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/switchboard-ipc/switchboard/bench/rows"
)

const shmsinkName = "GStreamer's shmsink"

// shmsinkPlaced and the like say what each side does, in the notes of the rows.
const (
	shmsinkPlaced = "nobody writes or reads a pixel, both sides work with 4 frames of memory and drop none. Ours: Loan, Publish; Next, Release. " +
		"GStreamer's: a pad pushes buffers of the sink's own memory, of a pool, straight into shmsink; another takes them from shmsrc and lets go of them; " +
		"no other element, no clock, no last-sample"
	shmsinkCopied = "the same pixels are copied into the shared memory: by the program of ours, into the loan; by shmsink, which does so with every buffer that is not " +
		"of its allocator. The copy is Go's on one side and glibc's on the other"
	shmsinkPaced = "of the reader only: the clock that has the writer wait costs a Go program three times what it costs one in C, and has no part in the transport"
	shmsinkWay   = "half of a round trip of one frame there and one of 64 B back, all on one processor; shmsink's side as in the rows of frames a second"
)

// feedRow is frames of 4K that are sent in one way: as many as there can be, or so many a second.
type feedRow struct {
	rate, cpu string // names of the rows; "": none
	how       string // placed, copied
	note      string
	readers   int
	perSecond int
}

var feedRows = []feedRow{
	{"4K frames a second in place, to 1 reader", "a 4K frame in place, processor time of both", "placed", shmsinkPlaced, 1, 0},
	{"", "a 4K frame in place at 60 a second, processor time of its reader", "placed", shmsinkPaced, 1, 60},
	{"4K frames a second in place, to 8 readers", "", "placed", "", 8, 0},
	{"4K frames a second copied in, to 1 reader", "a 4K frame copied in, processor time of both", "copied", shmsinkCopied, 1, 0},
}

// shmsinks compares frames with those that go through GStreamer's shmsink and shmsrc.
func (p *peers) shmsinks(ctx context.Context, e *rows.Env) ([]rows.Row, error) {
	program, missing := p.shmsink(ctx)
	var table []rows.Row
	for i, f := range feedRows {
		var peer []string
		if missing == nil {
			folder := filepath.Join(e.Folder, "s"+strconv.Itoa(i))
			if err := os.Mkdir(folder, 0o700); err != nil {
				return nil, err
			}
			peer = []string{program, f.how, folder, fmt.Sprint(frame4K), strconv.Itoa(f.readers)}
		}
		more, err := feeds(ctx, e, f, peer)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.rate+f.cpu, err)
		}
		table = append(table, more...)
	}
	row, err := p.shmsinkWays(ctx, e, program, missing)
	if err != nil {
		return nil, err
	}
	if table = append(table, row); missing != nil {
		table = append(table, skipped("frames through "+shmsinkName, missing))
	}
	return table, nil
}

var frame4K = rows.FrameSizes[len(rows.FrameSizes)-1].Bytes

// shmsink builds the program that sends frames through shmsink, or says why it cannot be had.
func (p *peers) shmsink(ctx context.Context) (string, error) {
	const packages = "install the Debian packages gstreamer1.0-tools, gstreamer1.0-plugins-bad, libgstreamer1.0-dev and pkg-config"
	if err := exec.CommandContext(ctx, "gst-inspect-1.0", "--exists", "shmsink").Run(); err != nil {
		return "", errors.New("no shmsink, or no GStreamer to look for it: " + packages)
	}
	flags, err := exec.CommandContext(ctx, "pkg-config", "--cflags", "--libs", "gstreamer-1.0").Output()
	if err != nil {
		return "", errors.New("nothing to build a program of GStreamer's with: " + packages)
	}
	return p.compile(ctx, "shmsink", strings.Fields(string(flags))...)
}

// feeds measures one way to send frames; peer is the command of the other side, nil if it cannot be had.
func feeds(ctx context.Context, e *rows.Env, f feedRow, peer []string) ([]rows.Row, error) {
	feed, err := e.StartFrameFeed(ctx, f.how, f.readers)
	if err != nil {
		return nil, err
	}
	both := []*rows.FrameFeed{feed}
	defer feed.Stop()
	if peer != nil {
		if feed, err = e.FeedBy(ctx, peer); err != nil {
			return nil, err
		}
		defer feed.Stop()
		both = append(both, feed)
	}
	var rates, cpu [2][]float64
	for round := range e.Rounds() + 1 {
		for i, feed := range both {
			fed, err := feed.Feed(ctx, e.Slice(), f.perSecond)
			if err != nil {
				return nil, err
			}
			if round > 0 { // in the first, memory is had for the first time
				if f.perSecond == 0 {
					fed.Reader += fed.Writer
				}
				rates[i], cpu[i] = append(rates[i], fed.Rate), append(cpu[i], fed.Reader)
			}
		}
	}
	var table []rows.Row
	row := func(name, unit string, of [2][]float64) {
		switch {
		case name == "":
		case peer == nil:
			table = append(table, rows.Alone(name, unit, of[0], rows.Limit{}))
		default:
			table = append(table, rows.Compare(name, unit, of[0], shmsinkName, of[1], rows.Limit{}))
		}
	}
	row(f.rate, "/s", rates)
	row(f.cpu, "µs", cpu)
	table[0].Note = f.note
	return table, nil
}

// shmsinkWays measures how long a frame takes from one process to another, who both sleep until there is one.
func (p *peers) shmsinkWays(ctx context.Context, e *rows.Env, program string, missing error) (rows.Row, error) {
	const name = "a frame of 4K one way, sleeping"
	place, _ := rows.Places()
	e.On = place.Together().Services
	driver, err := e.StartFrameDriver(ctx, "sleeping", frame4K, append(p.role(), "frames", "echo", "sleeping"))
	if err != nil {
		return rows.Row{}, err
	}
	defer driver.Stop()
	var feed *rows.FrameFeed
	if missing == nil {
		folder := filepath.Join(e.Folder, "echo")
		if err := os.Mkdir(folder, 0o700); err != nil {
			return rows.Row{}, err
		}
		if feed, err = e.FeedBy(ctx, []string{program, "echo", folder, fmt.Sprint(frame4K), "1"}); err != nil {
			return rows.Row{}, err
		}
		defer feed.Stop()
	}
	var ours, theirs []float64
	for range e.Rounds() {
		us, err := driver.OneWay(ctx, e.Slice()/4)
		if err != nil {
			return rows.Row{}, err
		}
		ours = append(ours, us)
		if feed == nil {
			continue
		}
		fed, err := feed.Feed(ctx, e.Slice()/4, 0)
		if err != nil {
			return rows.Row{}, err
		}
		theirs = append(theirs, fed.Median/1000)
	}
	if missing != nil {
		return rows.Alone(name, "µs", ours, rows.Limit{}), nil
	}
	row := rows.Compare(name, "µs", ours, shmsinkName, theirs, rows.Limit{})
	row.Note = shmsinkWay
	return row, nil
}
