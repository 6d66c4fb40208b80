// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// firstExtra is the first number that is no standard descriptor's.
const firstExtra = 3

// pass makes the descriptors that the command inherits, and returns their numbers there: the interface's, and those of the connection that holds the
// lease, so that the command keeps what it has if we are killed.
//
// The interface is number 3, unless our own parent put something there; then, as the others, it keeps the number that it has here.
func (g *guest) pass() (numbers [3]int, err error) {
	holders, err := g.lease.Holders()
	if err != nil {
		return numbers, err
	}
	for _, f := range holders {
		defer f.Close()
	}
	for i, f := range append([]*os.File{g.lease.Interface}, holders...) {
		if numbers[i], err = dupOf(f); err != nil {
			return numbers, fmt.Errorf("cannot duplicate the descriptor for the command: %w", err)
		}
		g.passed = append(g.passed, numbers[i])
	}
	if number, err := sourceOfThird(g.passed[0]); err == nil {
		g.third = os.NewFile(uintptr(number), "interface on "+g.network)
		syscall.Close(g.passed[0])
		g.passed = g.passed[1:]
		numbers[0] = firstExtra
	}
	return numbers, nil
}

// dupOf duplicates a descriptor without close-on-exec under a number above 2, and leaves its flags alone.
func dupOf(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(n uintptr) {
		var low []int
		for fd, err = syscall.Dup(int(n)); err == nil && fd < firstExtra; fd, err = syscall.Dup(int(n)) {
			low = append(low, fd)
		}
		sys.CloseAll(low)
	})
	return fd, errors.Join(err, cerr)
}

// sourceOfThird duplicates a descriptor under a number from which [exec.Cmd] can make number 3 of the command without harm to others: in the child it
// uses the numbers behind the largest that it is given, where something may be that the command is to inherit. An error: the command cannot have a
// number 3 of ours.
func sourceOfThird(fd int) (int, error) {
	if sys.Inherited(firstExtra) {
		return -1, errors.New("it inherits another")
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1, err
	}
	top := fd
	for _, e := range open {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			top = max(top, n)
		}
	}
	number, err := sys.DupAbove(fd, top+1)
	if err != nil {
		return -1, err
	}
	behind, err := sys.DupAbove(fd, number+2) // there is room
	if err != nil {
		syscall.Close(number)
		return -1, err
	}
	syscall.Close(behind)
	return number, nil
}

// drop closes what was passed.
func (g *guest) drop() {
	sys.CloseAll(g.passed)
	g.passed = nil
	if g.third != nil {
		g.third.Close()
		g.third = nil
	}
}
