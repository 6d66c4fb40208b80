// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard"
)

// Latency is what a process that takes times reports.
type Latency struct {
	Count  int     `json:"count"`
	Min    float64 `json:"min_ns"`
	Median float64 `json:"median_ns"`
	P99    float64 `json:"p99_ns"`
}

// callRole calls a service for as long as it is told, in one of these ways:
//
//	plain PATH          connect to a path, with system calls
//	dial FOLDER NAME    the line DIAL on broker.sock, with system calls
//	net PATH            net.Dial
//	go FOLDER NAME      switchboard.Dial
//
// and takes the time from before the socket is made to the first byte of the service's answer.
func callRole(ctx context.Context, r *role) error {
	clients := map[string]*switchboard.Client{}
	defer func() {
		for _, c := range clients {
			_ = c.Close()
		}
	}()
	r.ready()
	return r.answer(func(d time.Duration, words []string) (any, error) {
		way, where, name := words[0], words[1], ""
		if len(words) > 2 {
			name = words[2]
		}
		var call func() (time.Duration, error)
		switch way {
		case "plain":
			call = func() (time.Duration, error) { return callPath(where) }
		case "dial":
			socket, line := where+"/broker.sock", []byte("DIAL "+name+"\n")
			call = func() (time.Duration, error) { return callLine(socket, line) }
		case "net":
			var dialer net.Dialer
			call = func() (time.Duration, error) {
				return callConn(func() (net.Conn, error) { return dialer.DialContext(ctx, "unix", where) })
			}
		case "go":
			if clients[where] == nil {
				clients[where] = client(where)
			}
			call = func() (time.Duration, error) {
				return callConn(func() (net.Conn, error) { return clients[where].Dial(ctx, name) })
			}
		default:
			return nil, fmt.Errorf("cannot call by %q: unknown", way)
		}
		return timed(d, call)
	})
}

// timed calls again and again.
func timed(d time.Duration, call func() (time.Duration, error)) (Latency, error) {
	var took []time.Duration
	for start := time.Now(); time.Since(start) < d; {
		one, err := call()
		if err != nil {
			return Latency{}, err
		}
		took = append(took, one)
	}
	slices.Sort(took)
	n := len(took)
	return Latency{
		Count:  n,
		Min:    float64(took[0]),
		Median: float64(took[n/2]),
		P99:    float64(took[n*99/100]),
	}, nil
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
