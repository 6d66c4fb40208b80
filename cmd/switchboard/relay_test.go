// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard"
)

// TestRelayEnds: dial ends when a server behind a relay closes or resets the connection, even while stdin is open, and
// has printed all that it said.
func TestRelayEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, network, want string
		end                 func(net.Conn) error
	}{
		{"closed", "tcp", "bye\n", func(c net.Conn) error {
			_, err := io.WriteString(c, "bye\n")
			return err
		}},
		{"reset", "tcp", "", func(c net.Conn) error { return c.(*net.TCPConn).SetLinger(0) }},
		{"unix", "unix", "bye\n", func(c net.Conn) error {
			_, err := io.WriteString(c, "bye\n")
			return err
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := testDir(t)
			to := startServer(t, test.network, func(c net.Conn) {
				if _, err := c.Read(make([]byte, 1)); err != nil { // the call is under way
					t.Errorf("the server read %v", err)
				}
				if err := test.end(c); err != nil {
					t.Error(err)
				}
			})
			startOwner(t, dir, "com.example.end", command(t, dir, "listen", "com.example.end", "--relay", "--to", to))
			dial := command(t, dir, "dial", "com.example.end")
			var out bytes.Buffer
			dial.Stdout = &out
			stdin, err := dial.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := dial.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(stdin, "x"); err != nil {
				t.Fatal(err)
			}
			if err := dial.Wait(); err != nil || out.String() != test.want {
				t.Errorf("dial ended with %v and printed %q", err, out.String())
			}
		})
	}
}

// TestRelayFailedLeg: a client that resets its connection while the service is silent ends the call.
func TestRelayFailedLeg(t *testing.T) {
	t.Parallel()
	near, client := tcpPair(t)
	server, service := tcpPair(t)
	relayed := make(chan error, 1)
	go func() { relayed <- relay(near, server) }()
	if err := client.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, service); err != nil {
		t.Errorf("the service read %v", err)
	}
	if err := <-relayed; err != nil { // while the service still has its end open
		t.Errorf("relay: %v", err)
	}
}

// TestRelayKeepsTheAnswer: a service that answers and closes while its caller still sends is heard.
func TestRelayKeepsTheAnswer(t *testing.T) {
	t.Parallel()
	dir := testDir(t)
	to := startServer(t, "unix", func(c net.Conn) {
		if _, err := io.WriteString(c, "too much\n"); err != nil {
			t.Error(err)
		}
	})
	startOwner(t, dir, "com.example.full", command(t, dir, "listen", "com.example.full", "--relay", "--to", to))
	dial := command(t, dir, "dial", "com.example.full")
	dial.Stdin = strings.NewReader(strings.Repeat("x", 16<<20))
	if out, err := dial.Output(); string(out) != "too much\n" {
		t.Errorf("dial ended with %v and printed %q", err, out)
	}
}

// TestRelayGoesOnSending: a TCP server that has closed only its sending half still gets everything, through both kinds
// of relay.
func TestRelayGoesOnSending(t *testing.T) {
	t.Parallel()
	dir := testDir(t)
	received := make(chan int64, 1)
	to := startServer(t, "tcp", func(c net.Conn) {
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Error(err)
		}
		n, _ := io.Copy(io.Discard, c)
		received <- n
	})
	startOwner(t, dir, "com.example.sink", command(t, dir, "listen", "com.example.sink", "--to", to))
	client := switchboard.New(switchboard.Config{RuntimeDir: dir, NoAutostart: true})
	defer client.Close()
	c, err := client.Dial(t.Context(), "com.example.sink")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF { // the half-close has come through
		t.Fatal(err)
	}
	if _, err := c.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n := <-received; n != 1<<20 {
		t.Errorf("the server received %d bytes", n)
	}
}

// startServer answers one connection and closes it. It returns its address for --to.
func startServer(t *testing.T, network string, answer func(net.Conn)) (to string) {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "relay-") // t.TempDir() may be too long for a socket
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		at = filepath.Join(dir, "server.sock")
	}
	l, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		answer(c)
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return network + ":" + l.Addr().String()
}

// tcpPair makes a TCP connection and returns both ends of it.
func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	return near.(*net.TCPConn), far.(*net.TCPConn)
}
