// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/launch"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// first is what one first call takes: milliseconds from before the first socket
// is made to the last caller's first byte, and from the fork to the program's main.
type first struct {
	Answer float64 `json:"answer"`
	Main   float64 `json:"main"`
}

// firstCallRole has a program launched so many times and prints the medians: COUNT and one of
//
//	dial FOLDER NAME CALLERS       so many callers' DIAL at once
//	listener FOLDER PROGRAM…       by hand: bind, listen, fork, exec, connect
//	connection FOLDER PROGRAM…     by hand: a pair of sockets, fork, exec
//	shim FOLDER BINARY PROGRAM…    by hand, as the broker does it: bind, fork, exec the shim, tell it what to run
//
// PROGRAM is a backend that answers one caller, or as many as there are.
func firstCallRole(ctx context.Context, r *role) error {
	if err := r.need(4); err != nil {
		return err
	}
	count, err := strconv.Atoi(r.args[0])
	if err != nil {
		return err
	}
	folder, rest := r.args[2], r.args[3:]
	path := filepath.Join(folder, "by-hand")
	var launchOne func() (first, error)
	switch way := r.args[1]; way {
	case "dial":
		callers, err := strconv.Atoi(r.args[len(r.args)-1])
		if err != nil {
			return err
		}
		launchOne = func() (first, error) { return firstDial(folder, rest[0], callers) }
	case "listener":
		launchOne = func() (first, error) { return byHand(path, rest) }
	case connection:
		launchOne = func() (first, error) { return byHandConnected(rest) }
	case "shim":
		l, err := launch.New(launch.Config{Shim: rest[0]})
		if err != nil {
			return err
		}
		defer l.Close()
		launchOne = func() (first, error) { return byShim(l, path, rest[1:]) }
	default:
		return fmt.Errorf("cannot launch by %q: unknown", way)
	}
	var answers, mains []float64
	for i := range count + 1 {
		f, err := launchOne()
		for tries := 0; errors.Is(err, errEnded) && tries < 3; tries++ {
			// It came between the end of the program before and the broker's knowing of it: docs/session.md, section 2.
			if err := pause(ctx, 200*time.Millisecond); err != nil {
				return err
			}
			f, err = launchOne()
		}
		if err != nil {
			return err
		}
		if i > 0 { // the first brings the files into memory
			answers, mains = append(answers, f.Answer), append(mains, f.Main)
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return json.NewEncoder(r.out).Encode(first{Median(answers), Median(mains)})
}

var errEnded = errors.New("no answer: the connection ended")

// answered is a caller that waits for the program's answer.
type answered struct {
	fd   int
	have []byte
}

func callAt(path string) (*answered, error) {
	fd, err := connectTo(path)
	if err != nil {
		return nil, err
	}
	return &answered{fd: fd}, syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: 20})
}

// more reads what there is; at its end is an error.
func (a *answered) more() error {
	var b [4096]byte
	n, err := syscall.Read(a.fd, b[:])
	for err == syscall.EINTR { // a child has ended
		n, err = syscall.Read(a.fd, b[:])
	}
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	if n == 0 {
		return errEnded
	}
	a.have = append(a.have, b[:n]...)
	return nil
}

// verdict reads the broker's verdict, and connects again where it says so.
func (a *answered) verdict() error {
	for {
		line, rest, whole := bytes.Cut(a.have, []byte("\n"))
		path, at := bytes.CutPrefix(line, []byte("AT "))
		switch {
		case !whole:
			if err := a.more(); err != nil {
				return err
			}
		case at:
			syscall.Close(a.fd)
			again, err := callAt(string(path))
			if err != nil {
				return err
			}
			*a = *again
			return nil
		case string(line) == "OK":
			a.have = rest
			return nil
		default:
			return fmt.Errorf("refused: %q", line)
		}
	}
}

// answerSize is what a backend sends: one byte, the eight of CLOCK_MONOTONIC at
// the beginning of its main, and the four of its process id.
const answerSize = 1 + 8 + 4

// program is when the main of the program that answers began, and its process id.
func (a *answered) program() (began int64, pid int, err error) {
	for len(a.have) < answerSize {
		if err := a.more(); err != nil {
			return 0, 0, err
		}
	}
	return int64(binary.NativeEndian.Uint64(a.have[1:])), int(binary.NativeEndian.Uint32(a.have[9:])), nil
}

// firstDial asks for a name that nobody has, by so many callers at once.
func firstDial(folder, name string, callers int) (first, error) {
	socket, line := filepath.Join(folder, "broker.sock"), []byte("DIAL "+name+"\n")
	list := make([]*answered, callers)
	defer func() {
		for _, a := range list {
			if a != nil {
				syscall.Close(a.fd)
			}
		}
	}()
	start := sys.Monotonic()
	for i := range list {
		var err error
		if list[i], err = callAt(socket); err != nil {
			return first{}, err
		}
		if _, err := syscall.Write(list[i].fd, line); err != nil {
			return first{}, os.NewSyscallError("write", err)
		}
	}
	for _, a := range list {
		if err := a.verdict(); err != nil {
			return first{}, fmt.Errorf("no verdict: %w", err)
		}
	}
	for _, a := range list {
		if len(a.have) == 0 {
			if err := a.more(); err != nil {
				return first{}, err
			}
		}
	}
	f, err := since(start, start, list[0])
	if err != nil {
		return f, err
	}
	return f, list[0].gone()
}

// gone waits until the broker has reaped the program that answered: the next first call is one again.
func (a *answered) gone() error {
	_, pid, err := a.program()
	if err != nil {
		return err
	}
	for range 10_000 {
		if syscall.Kill(pid, 0) != nil {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("process %d answered and does not end", pid)
}

// since makes the figures of a first call that has just been answered.
func since(start, forked int64, a *answered) (first, error) {
	took := sys.Monotonic() - start
	began, _, err := a.program()
	if err == nil && began < forked {
		err = errors.New("the program that answered ran already")
	}
	return first{Answer: float64(took) / 1e6, Main: float64(began-forked) / 1e6}, err
}

// launch asks for a name and waits for the verdict only.
func (b *Broker) launch(name string) error {
	a, err := callAt(filepath.Join(b.Folder, "broker.sock"))
	if err != nil {
		return err
	}
	defer func() { syscall.Close(a.fd) }()
	if _, err := syscall.Write(a.fd, []byte("DIAL "+name+"\n")); err != nil {
		return os.NewSyscallError("write", err)
	}
	return a.verdict()
}
