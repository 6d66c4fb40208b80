// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// hostileClients are the connections of the row about them, a quarter of each kind.
const hostileClients = 64

// hostileRole opens so many connections that do no good, until its input ends:
// FOLDER COUNT. The broker ends some of them after a while; so all are made
// anew, every few seconds.
func hostileRole(ctx context.Context, r *role) error {
	if err := r.need(2); err != nil {
		return err
	}
	count, err := strconv.Atoi(r.args[1])
	if err != nil {
		return err
	}
	kinds := []func(folder string) (*sys.FD, error){idleCaller, halfCaller, idleSession, deafSession}
	list := make([]*sys.FD, count)
	open := func() error {
		for i := range list {
			_ = list[i].Close()
			if list[i], err = kinds[i%len(kinds)](r.args[0]); err != nil {
				return fmt.Errorf("cannot be hostile: %w", err)
			}
		}
		return nil
	}
	if err := open(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		r.ready()
		r.wait()
		close(ended)
	}()
	for tick := time.NewTicker(5 * time.Second); ; {
		select {
		case <-ended:
			return nil
		case <-tick.C:
			if err := open(); err != nil {
				return err
			}
		}
	}
}

// idleCaller connects to call and says nothing.
func idleCaller(folder string) (*sys.FD, error) {
	return sys.Connect(filepath.Join(folder, "broker.sock"), sys.Stream, false)
}

// halfCaller begins a line and does not end it.
func halfCaller(folder string) (*sys.FD, error) {
	fd, err := idleCaller(folder)
	if err == nil {
		_, err = sys.Send(fd.Int(), []byte("DIAL bench.han"))
	}
	return fd, err
}

// idleSession connects for a session and does not begin it.
func idleSession(folder string) (*sys.FD, error) {
	return sys.Connect(filepath.Join(folder, "session.sock"), sys.Seqpacket, false)
}

// deafSession watches everything and asks until nobody takes more of it, and reads no reply.
func deafSession(folder string) (*sys.FD, error) {
	fd, err := idleSession(folder)
	if err != nil {
		return nil, err
	}
	id := uint32(0)
	request := func(op session.Op, payload func([]byte) []byte) error {
		id++
		_, err := sys.Send(fd.Int(), payload(session.Header{Kind: session.KindRequest, Op: op, ID: id}.Append(nil)))
		return err
	}
	hello := session.Hello{Program: "hostile"}
	_, _ = rand.Read(hello.Session[:]) // never fails
	if err := request(session.OpHello, hello.Append); err != nil {
		return fd, err
	}
	if err := request(session.OpWatch, session.Watch{Pattern: "*"}.Append); err != nil {
		return fd, err
	}
	for range 10_000 {
		err := request(session.OpLookUp, session.LookUp{Name: "bench.handed"}.Append)
		if err == syscall.EAGAIN {
			return fd, nil
		}
		if err != nil {
			return fd, os.NewSyscallError("send", err)
		}
	}
	return fd, nil
}

// hostile compares the 99th percentile of a call's time at a broker with
// connections that do no good with that at one without.
func hostile(ctx context.Context, e *Env) ([]Row, error) {
	const name = "bench.handed"
	place, note := Places()
	e.On = place.Services
	var ways [2][]string // of a broker that is attacked and of one that is not
	for i := range ways {
		b, err := e.StartBroker(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := e.StartRole(ctx, "own", b.Folder, name); err != nil {
			return nil, err
		}
		ways[i] = []string{"dial", b.Folder, name}
	}
	e.On = place.Caller
	if _, err := e.StartRole(ctx, "hostile", ways[0][1], strconv.Itoa(hostileClients)); err != nil {
		return nil, err
	}
	var medians, p99s [2][]float64
	for range 2 * e.Rounds() {
		for i, way := range ways {
			median, p99, err := e.callFor(ctx, e.Slice(), way)
			if err != nil {
				return nil, err
			}
			medians[i], p99s[i] = append(medians[i], median), append(p99s[i], p99)
		}
	}
	title := fmt.Sprintf("DIAL beside %d hostile clients", hostileClients)
	late := Compare(title+", 99th percentile", "µs", p99s[0], "beside none", p99s[1], Limit{AtMost: 2})
	late.Note = note + "; a quarter each: idle, half a line, no HELLO, no reply read"
	return []Row{late, Compare(title+", median", "µs", medians[0], "beside none", medians[1], Limit{})}, nil
}
