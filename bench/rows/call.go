// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard"
)

// callRole calls services for as long as it is told, in the ways it is told,
// which are separated by commas:
//
//	plain PATH          connect to a path, with system calls
//	dial FOLDER NAME    the line DIAL on broker.sock, with system calls
//	net PATH            net.Dial
//	go FOLDER NAME      switchboard.Dial
//
// It takes turns, a short burst of each, and answers with the median of each way: the
// nanoseconds from before the socket is made to the first byte of the service's answer.
func callRole(ctx context.Context, r *role) error {
	clients := map[string]*switchboard.Client{}
	defer func() {
		for _, c := range clients {
			_ = c.Close()
		}
	}()
	r.ready()
	return r.answer(func(d time.Duration, words []string) (any, error) {
		var calls []call
		for _, way := range strings.Split(strings.Join(words, " "), ",") {
			c, err := parseCall(ctx, strings.Fields(way), clients)
			if err != nil {
				return nil, err
			}
			calls = append(calls, c)
		}
		return medians(d, calls)
	})
}

// call calls once and returns how long it took.
type call func() (time.Duration, error)

func parseCall(ctx context.Context, words []string, clients map[string]*switchboard.Client) (call, error) {
	if len(words) < 2 {
		return nil, fmt.Errorf("cannot call by %q: too few words", words)
	}
	where, name := words[1], words[len(words)-1]
	switch words[0] {
	case "plain":
		return func() (time.Duration, error) { return callPath(where) }, nil
	case "dial":
		socket, line := where+"/broker.sock", []byte("DIAL "+name+"\n")
		return func() (time.Duration, error) { return callLine(socket, line) }, nil
	case "net":
		var dialer net.Dialer
		return func() (time.Duration, error) {
			return callConn(func() (net.Conn, error) { return dialer.DialContext(ctx, "unix", where) })
		}, nil
	case "go":
		c := clients[where]
		if c == nil {
			c = client(where)
			clients[where] = c
		}
		return func() (time.Duration, error) {
			return callConn(func() (net.Conn, error) { return c.Dial(ctx, name) })
		}, nil
	}
	return nil, fmt.Errorf("cannot call by %q: unknown", words[0])
}

// A burst is long enough for caller and service to be as busy as they would be
// with calls of one kind only, which its first calls bring about, and so short
// that what else the machine does hits all kinds alike.
const burst, burstWarmUp = 40, 10

// medians takes turns among calls.
func medians(d time.Duration, calls []call) ([]float64, error) {
	took := make([][]float64, len(calls))
	for start := time.Now(); time.Since(start) < d; {
		for i, call := range calls {
			for n := range burst {
				one, err := call()
				if err != nil {
					return nil, err
				}
				if n >= burstWarmUp {
					took[i] = append(took[i], float64(one))
				}
			}
		}
	}
	list := make([]float64, len(calls))
	for i := range list {
		list[i] = Median(took[i])
	}
	return list, nil
}

// callPath connects to a path and reads one byte.
func callPath(path string) (time.Duration, error) {
	start := time.Now()
	fd, err := connectTo(path)
	if err != nil {
		return 0, err
	}
	defer syscall.Close(fd)
	var b [1]byte
	n, err := syscall.Read(fd, b[:])
	took := time.Since(start)
	if err != nil || n != 1 {
		return 0, fmt.Errorf("no answer at %q: %d bytes, %v", path, n, err)
	}
	return took, nil
}

// callLine asks the broker for a name and reads its verdict and the service's first byte.
func callLine(socket string, line []byte) (time.Duration, error) {
	const ok = "OK\n"
	start := time.Now()
	fd, err := connectTo(socket)
	if err != nil {
		return 0, err
	}
	defer syscall.Close(fd)
	if _, err := syscall.Write(fd, line); err != nil {
		return 0, err
	}
	var b [512]byte
	have := 0
	for have <= len(ok) {
		n, err := syscall.Read(fd, b[have:])
		if err != nil || n == 0 {
			return 0, fmt.Errorf("no answer at %q: %d bytes, %v", socket, have, err)
		}
		have += n
	}
	took := time.Since(start)
	if string(b[:len(ok)]) != ok {
		return 0, fmt.Errorf("refused: %q", b[:have])
	}
	return took, nil
}

func connectTo(path string) (int, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot make a socket: %w", err)
	}
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		syscall.Close(fd)
		return -1, fmt.Errorf("cannot connect to %q: %w", path, err)
	}
	return fd, nil
}

// callConn makes a connection and reads one byte.
func callConn(dial func() (net.Conn, error)) (time.Duration, error) {
	start := time.Now()
	c, err := dial()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var b [1]byte
	_, err = io.ReadFull(c, b[:])
	return time.Since(start), err
}
