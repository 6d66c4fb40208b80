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
)

// callRole calls a service for as long as it is told: DURATION and one of
//
//	plain PATH          connect to a path, with system calls
//	dial FOLDER NAME    the line DIAL on broker.sock, with system calls
//	net PATH            net.Dial
//	go FOLDER NAME      switchboard.Dial
//
// It prints the median and the 99th percentile of the nanoseconds from before
// the socket is made to the first byte of the service's answer.
func callRole(ctx context.Context, r *role) error {
	if err := r.need(3); err != nil {
		return err
	}
	d, err := time.ParseDuration(r.args[0])
	if err != nil {
		return err
	}
	var call func() (time.Duration, error)
	where, name := r.args[2], r.args[len(r.args)-1]
	switch way := r.args[1]; way {
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
		c := client(where)
		defer c.Close()
		call = func() (time.Duration, error) {
			return callConn(func() (net.Conn, error) { return c.Dial(ctx, name) })
		}
	default:
		return fmt.Errorf("cannot call by %q: unknown", way)
	}
	took, err := timesOf(d, call)
	if err != nil {
		return err
	}
	fmt.Fprintln(r.out, int64(took[len(took)/2]), int64(took[len(took)*99/100]))
	return nil
}

// timesOf calls again and again, warms up for a quarter of the time, and
// returns what the rest took, sorted.
func timesOf(d time.Duration, call func() (time.Duration, error)) ([]time.Duration, error) {
	var took []time.Duration
	for start := time.Now(); ; {
		one, err := call()
		if err != nil {
			return nil, err
		}
		switch now := time.Since(start); {
		case now > d && len(took) > 0: // on a busy machine one call may take all of the time
			slices.Sort(took)
			return took, nil
		case now > d/4:
			took = append(took, one)
		}
	}
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
