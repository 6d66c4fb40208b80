// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/companion"
)

const (
	demoNetwork   = "host"
	demoEtherType = 0x88b5                // for experiments
	demoAgain     = 20 * time.Millisecond // between attempts: what is sent before the other guest is there is lost
	frameHeader   = 14
)

// stepNetwork is what virtual machines do: two programs on one network, each with an interface by name, talk in Ethernet frames of their own.
func stepNetwork(ctx context.Context, t *tour) (string, error) {
	if _, err := companion.Find(companion.Network, t.self); err != nil {
		return "", skipped("there is no switchboard-network here (make build, or go install ./cmd/switchboard-network)")
	}
	if _, err := t.start(t.command(t.self, "acquire", demoNetwork, "--id", "demo-2", "--kind", "datagram", "--", t.self, "_demo", "guest", demoNetwork)); err != nil {
		return "", err
	}
	began := time.Now()
	lease, err := t.client.Acquire(ctx, demoNetwork, switchboard.AcquireID("demo-1"), switchboard.AcquireKind(switchboard.DatagramInterface))
	if err != nil {
		return "", err
	}
	defer lease.Close()
	took := time.Since(began)
	service, err := t.client.LookUp(ctx, switchboard.NetworkService, switchboard.OfKind(switchboard.Port))
	if err != nil {
		return "", err
	}
	t.launched(service.PID)
	g, err := newGuestEnd(lease.Interface, lease.MAC)
	if err != nil {
		return "", err
	}
	defer g.Close()
	answer, from, err := g.ask(ctx, "hello")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%q → %q in Ethernet frames, from %s to %s on network %q: no root, and no virtual machine yet; an interface took %s, the start of "+
		"the network service (pid %d) included", "hello", answer, lease.MAC, from, demoNetwork, millis(took), service.PID), nil
}

// guestEnd is a guest without a machine: the end of an interface, with frames of its own making.
type guestEnd struct {
	net.Conn
	mac net.HardwareAddr
}

func newGuestEnd(end *os.File, mac net.HardwareAddr) (*guestEnd, error) {
	c, err := net.FileConn(end)
	if err != nil {
		return nil, err
	}
	return &guestEnd{c, mac}, nil
}

func (f *guestEnd) send(to net.HardwareAddr, text string) error {
	frame := append(append([]byte(nil), to...), f.mac...)
	frame = binary.BigEndian.AppendUint16(frame, demoEtherType)
	frame = append(frame, byte(len(text)))
	_, err := f.Write(append(frame, text...))
	return err
}

// receive returns the next frame of ours, and whose it is.
func (f *guestEnd) receive() (text string, from net.HardwareAddr, err error) {
	frame := make([]byte, 2048)
	for {
		n, err := f.Read(frame)
		if err != nil {
			return "", nil, err
		}
		if n > frameHeader && binary.BigEndian.Uint16(frame[12:]) == demoEtherType && frameHeader+1+int(frame[frameHeader]) <= n {
			body := frame[frameHeader+1:]
			return string(body[:frame[frameHeader]]), net.HardwareAddr(bytes.Clone(frame[6:12])), nil
		}
	}
}

// ask asks all guests on the network until one answers.
func (f *guestEnd) ask(ctx context.Context, text string) (answer string, from net.HardwareAddr, err error) {
	for {
		if err := f.send(net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, text); err != nil {
			return "", nil, err
		}
		if err := f.SetReadDeadline(time.Now().Add(demoAgain)); err != nil {
			return "", nil, err
		}
		answer, from, err := f.receive()
		switch {
		case err == nil && answer == string(bytes.ToUpper([]byte(text))):
			return answer, from, nil
		case err == nil:
			return "", nil, fmt.Errorf("%q was answered with %q", text, answer)
		case ctx.Err() != nil:
			return "", nil, fmt.Errorf("no guest has answered: %w", ctx.Err())
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return "", nil, err
		}
	}
}

// demoGuest answers in capitals what other guests say, until it is ended. It has its interface from acquire.
func (a *app) demoGuest(ctx context.Context) error {
	fd, err := strconv.Atoi(os.Getenv(envFD))
	if err != nil {
		return usagef("%s is %q: %s acquire NAME -- … sets it", envFD, os.Getenv(envFD), filepath.Base(os.Args[0]))
	}
	mac, err := net.ParseMAC(os.Getenv(envMAC))
	if err != nil {
		return err
	}
	end := os.NewFile(uintptr(fd), "interface")
	g, err := newGuestEnd(end, mac)
	end.Close()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { g.Close() })()
	for {
		text, from, err := g.receive()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := g.send(from, string(bytes.ToUpper([]byte(text)))); err != nil {
			return err
		}
	}
}
