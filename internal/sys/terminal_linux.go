// SPDX-License-Identifier: Apache-2.0

package sys

import "golang.org/x/sys/unix"

// TerminalSize returns the columns and rows of a terminal, and how many pixels they are where it says so; 0 and 0: it is none.
func TerminalSize(fd int) (columns, rows, width, height int) {
	s, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0, 0, 0
	}
	return int(s.Col), int(s.Row), int(s.Xpixel), int(s.Ypixel)
}
