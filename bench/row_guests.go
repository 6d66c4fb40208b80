// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
	"github.com/switchboard-ipc/switchboard/bench/rows"
)

// guestPair is two guests on one network, with two connections between them.
type guestPair struct {
	pid            int         // of the process that the frames go through
	service        *netService // of ours
	guests         []*netGuest
	leases         []*switchboard.Lease // of ours
	client, ping   net.Conn
	received       atomic.Int64
	bytes, latency []float64 // of each round: MB/s, and microseconds
	cpu            []float64 // milliseconds of that process for 100 MB
}

// guests compares TCP between the descriptors that two guests have from us, with TCP between two guests of gvproxy. The guests are the same:
// stacks in this process, which need most of the time.
func (p *peers) guests(ctx context.Context, e *rows.Env) ([]rows.Row, error) {
	const name = "TCP between two guests"
	ours, err := p.ourGuests(ctx, e)
	if err != nil {
		return nil, err
	}
	defer ours.close()
	theirs, missing := p.gvproxyGuests(ctx, e)
	if missing == nil {
		defer theirs.close()
	} else {
		theirs = nil
	}
	for range e.Rounds() {
		for _, pair := range []*guestPair{ours, theirs} {
			if pair == nil {
				continue
			}
			if err := pair.measure(ctx, e.Slice()); err != nil {
				return nil, err
			}
		}
	}
	if missing != nil {
		return []rows.Row{
			rows.Alone(name, "MB/s", ours.bytes, rows.Limit{}),
			rows.Alone(name+", a byte and its echo", "µs", ours.latency, rows.Limit{}),
			skipped(name+" against gvproxy", missing),
		}, nil
	}
	const peer = "gvproxy"
	table := []rows.Row{
		rows.Compare(name, "MB/s", ours.bytes, peer, theirs.bytes, rows.Limit{}),
		rows.Compare(name+", the CPU of who moves frames for 100 MB", "ms", ours.cpu, peer, theirs.cpu, rows.Limit{}),
		rows.Compare(name+", a byte and its echo", "µs", ours.latency, peer, theirs.latency, rows.Limit{}),
	}
	dropped, err := ours.dropped(ctx)
	table[0].Note = "the guests are stacks in Go in one process, which is most of the work, and the same for both; " + dropped
	return table, err
}

// ourGuests starts a broker and the network service, and has two guests acquire the same network.
func (p *peers) ourGuests(ctx context.Context, e *rows.Env) (*guestPair, error) {
	s, err := p.startNetService(ctx, e)
	if err != nil {
		return nil, err
	}
	pair := &guestPair{pid: s.PID(), service: s}
	for i := range 2 {
		g, lease, err := acquireGuest(ctx, s.client, "shared", fmt.Sprint("guest", i))
		if err != nil {
			pair.close()
			return nil, err
		}
		pair.guests, pair.leases = append(pair.guests, g), append(pair.leases, lease)
	}
	return pair.open(ctx)
}

// gvproxyGuests does the same with gvproxy.
func (p *peers) gvproxyGuests(ctx context.Context, e *rows.Env) (*guestPair, error) {
	program, err := p.gvproxy(ctx)
	if err != nil {
		return nil, err
	}
	g, err := startGvproxy(ctx, e, program, e.Folder)
	if err != nil {
		return nil, err
	}
	pair := &guestPair{pid: g.PID()}
	for i := range 2 {
		conn, err := g.connect(ctx)
		if err == nil {
			var guest *netGuest
			at := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, 127, byte(100 + i)}), 24) // gvproxy's usual subnet
			if guest, err = newNetGuest(conn, net.HardwareAddr{0x52, 0x54, 0, 1, 2, byte(i)}, at, 1500); err == nil {
				pair.guests = append(pair.guests, guest)
			}
		}
		if err != nil {
			pair.close()
			return nil, err
		}
	}
	return pair.open(ctx)
}

// open connects the guests: one connection is for bytes, and one has an echo.
func (p *guestPair) open(ctx context.Context) (_ *guestPair, err error) {
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var sink, echo net.Conn
	if p.client, sink, err = connection(ctx, p.guests[0], p.guests[1], 7000); err != nil {
		return nil, err
	}
	if p.ping, echo, err = connection(ctx, p.guests[0], p.guests[1], 7001); err != nil {
		return nil, err
	}
	go func() {
		for b := make([]byte, 1<<18); ; {
			n, err := sink.Read(b)
			if err != nil {
				return
			}
			p.received.Add(int64(n))
		}
	}()
	go io.Copy(struct{ io.Writer }{echo}, struct{ io.Reader }{echo})
	return p, nil
}

// close ends the guests; what waits at their connections ends with this process, or sees the end of the stack.
func (p *guestPair) close() {
	for _, c := range []net.Conn{p.client, p.ping} {
		if c != nil {
			c.Close()
		}
	}
	for _, g := range p.guests {
		g.close()
	}
	for _, l := range p.leases {
		l.Close()
	}
	if p.service != nil {
		p.service.client.Close()
	}
}

// dropped says how many frames did not arrive, for want of room, on a network of ours.
func (p *guestPair) dropped(ctx context.Context) (string, error) {
	n, err := p.service.client.Networks(ctx)
	if err != nil {
		return "", err
	}
	defer n.Close()
	list, err := n.List(ctx, "shared")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("our switch dropped %d of %d frames", list[0].Counts.Dropped, list[0].Counts.FramesIn), nil
}

// measure adds one round.
func (p *guestPair) measure(ctx context.Context, d time.Duration) error {
	before, err := proc.CPU(p.pid)
	if err != nil {
		return err
	}
	rate, sent, err := p.stream(ctx, d)
	if err != nil {
		return err
	}
	after, err := proc.CPU(p.pid)
	if err != nil {
		return err
	}
	us, err := p.echoes(d / 2)
	if err != nil {
		return err
	}
	p.bytes, p.latency = append(p.bytes, rate), append(p.latency, us)
	p.cpu = append(p.cpu, (after-before).Seconds()*1e3/(float64(sent)/1e8))
	return nil
}

// stream sends for a while, until all has arrived, and returns the megabytes in a second.
func (p *guestPair) stream(ctx context.Context, d time.Duration) (rate float64, sent int64, err error) {
	const block = 1 << 16
	start, had := time.Now(), p.received.Load()
	p.client.SetWriteDeadline(start.Add(d + 30*time.Second))
	for b := make([]byte, block); time.Since(start) < d; sent += block {
		if _, err := p.client.Write(b); err != nil {
			return 0, 0, fmt.Errorf("cannot send from guest to guest: %w", err)
		}
	}
	for p.received.Load()-had < sent {
		if ctx.Err() != nil || time.Since(start) > d+30*time.Second {
			return 0, 0, fmt.Errorf("%d of %d bytes have arrived", p.received.Load()-had, sent)
		}
		time.Sleep(100 * time.Microsecond)
	}
	return float64(sent) / time.Since(start).Seconds() / 1e6, sent, nil
}

// echoes sends single bytes for a while, and returns the microseconds until each is back.
func (p *guestPair) echoes(d time.Duration) (float64, error) {
	start, count := time.Now(), 0
	p.ping.SetDeadline(start.Add(d + 30*time.Second))
	for b := make([]byte, 1); time.Since(start) < d; count++ {
		if _, err := p.ping.Write(b); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(p.ping, b); err != nil {
			return 0, err
		}
	}
	return time.Since(start).Seconds() * 1e6 / float64(count), nil
}
