// SPDX-License-Identifier: Apache-2.0

package usernet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

func echoTCP(t *testing.T, l net.Listener) {
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(t.Context(), func() { c.Close() })
			all.Go(func() {
				io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) // plainly: pipes for splicing would be counted
				c.Close()
				stop()
			})
		}
	})
}

func echoUDP(t *testing.T, c net.PacketConn) {
	var all sync.WaitGroup
	t.Cleanup(func() { c.Close(); all.Wait() })
	all.Go(func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			c.WriteTo(b[:n], from)
		}
	})
}

// onHost starts servers on this machine's loopback that answer with what they get, and returns their ports.
func onHost(t *testing.T) (tcp, udp uint16) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	echoTCP(t, l)
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	echoUDP(t, c)
	return l.Addr().(*net.TCPAddr).AddrPort().Port(), c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// checkStream sends a lot through a connection to an echo, and expects it and then the end back.
func checkStream(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(data)
		sent <- errors.Join(err, c.(interface{ CloseWrite() error }).CloseWrite())
	}()
	back, err := io.ReadAll(c)
	if err := errors.Join(err, <-sent); err != nil || string(back) != string(data) {
		t.Fatalf("%d of %d bytes came back: %v", len(back), len(data), err)
	}
}

// checkDatagram sends through a connection to an echo.
func checkDatagram(t *testing.T, c net.Conn, size int) {
	t.Helper()
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i)
	}
	if _, err := c.Write(data); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1<<16)
	n, err := c.Read(b)
	if err != nil || string(b[:n]) != string(data) {
		t.Fatalf("%d of %d bytes came back: %v", n, size, err)
	}
}
