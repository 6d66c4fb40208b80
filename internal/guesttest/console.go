// SPDX-License-Identifier: Apache-2.0

package guesttest

import (
	"bufio"
	"context"
	"io"
	"strings"
	"sync"
)

// console is what a guest said on its serial line, and its command on standard error, by lines.
type console struct {
	// mu guards what follows.
	mu    sync.Mutex
	lines []string
	// more is closed and replaced when there is a new line, or no more will come.
	more chan struct{}
	// open is how many readers have not come to their end.
	open int
}

// stderrPrefix begins the lines that the command and QEMU wrote to their standard error.
const stderrPrefix = "stderr: "

// newConsole has as many calls of read as it is told.
func newConsole(readers int) *console { return &console{more: make(chan struct{}), open: readers} }

// read takes lines until r ends.
func (c *console) read(r io.Reader, prefix string) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" || err == nil {
			c.change(func() { c.lines = append(c.lines, prefix+line) })
		}
		if err != nil {
			c.change(func() { c.open-- })
			return
		}
	}
}

func (c *console) change(how func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	how()
	close(c.more)
	c.more = make(chan struct{})
}

// find waits for a line from number `from` on that matches, and returns its number.
// It ends with io.EOF when the guest has ended without it.
func (c *console) find(ctx context.Context, from int, matches func(line string) bool) (int, error) {
	for {
		c.mu.Lock()
		lines, more, ended := c.lines, c.more, c.open == 0
		c.mu.Unlock()
		for ; from < len(lines); from++ {
			if matches(lines[from]) {
				return from, nil
			}
		}
		if ended {
			return from, io.EOF
		}
		select {
		case <-more:
		case <-ctx.Done():
			return from, context.Cause(ctx)
		}
	}
}

// slice returns lines [from, to), or to the last for a negative to.
func (c *console) slice(from, to int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if to < 0 {
		to = len(c.lines)
	}
	return c.lines[max(0, from):to:to]
}
