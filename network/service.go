// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/mach"
	"github.com/switchboard-ipc/switchboard/network/config"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
)

// DefaultMaxNetworks is how many networks a connection may hold, as in the original.
const DefaultMaxNetworks = 8

// Config says how the service is to be. The zero value serves the networks of the usual folders with the user driver.
type Config struct {
	Name    string       // of the port; "": vmnet.Service
	Mach    mach.Options // how to reach the broker
	Folders []string     // with networks' files; nil: config.Folders
	UID     int          // whose files count beside root's; 0: this process' user
	Driver  Driver       // nil: a [UserDriver]

	MaxNetworks    int           // that one connection may hold; 0: DefaultMaxNetworks
	MaxConnections int           // 0: as many as there are descriptors for; half of them for one process
	MaxLeases      int           // 0: as many as there are descriptors for
	IdleExit       time.Duration // end after so long without a network and a connection; 0: never

	Logger *slog.Logger // nil: nothing is logged
	Ready  func()       // called when the name is checked in, each time
}

func (c *Config) complete() error {
	if c.Name == "" {
		c.Name = vmnet.Service
	}
	if c.Folders == nil {
		c.Folders = config.Folders("", os.Getenv)
	}
	if c.UID == 0 {
		c.UID = os.Geteuid()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Driver == nil {
		d, err := NewUserDriver(c.Logger)
		if err != nil {
			return err
		}
		c.Driver = d
	}
	own, err := ownShares()
	if err != nil {
		return err
	}
	for _, l := range []struct {
		limit *int
		usual int
	}{{&c.MaxNetworks, DefaultMaxNetworks}, {&c.MaxConnections, own.connections}, {&c.MaxLeases, own.leases}} {
		if *l.limit <= 0 {
			*l.limit = l.usual
		}
	}
	if c.Ready == nil {
		c.Ready = func() {}
	}
	return nil
}

// Service answers who asks for networks. See [New].
type Service struct {
	config   Config
	log      *slog.Logger
	networks *networks
	poller   *sys.Poller
	work     sync.WaitGroup // every goroutine but that of Serve
	dials    chan struct{}  // has one for each connection to a guest
	refusals budget         // of lines about handshakes

	// mu guards the rest.
	mu          sync.Mutex
	connections map[uint64]*connection
	processes   map[sys.ProcessID]int // connections of each
	excess      int                   // connections that there are too many of
	excessive   map[sys.ProcessID]int // of each
	last        uint64
}

// New makes a service, which does nothing until Serve.
func New(c Config) (*Service, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	s := &Service{config: c, log: c.Logger, connections: make(map[uint64]*connection), processes: make(map[sys.ProcessID]int), excessive: make(map[sys.ProcessID]int), dials: make(chan struct{}, maxDials)}
	s.networks = newNetworks(c, s.reap, s.tell)
	return s, nil
}

// Serve checks the name in and answers until the context ends, which is no error, or it was idle for long enough; then all connections
// and networks end. The error is that of the broker if the name cannot be checked in at first. Later on the service looks for the
// broker again when it is gone. Serve can be called once.
func (s *Service) Serve(ctx context.Context) error {
	poller, err := sys.NewPoller()
	if err != nil {
		return err
	}
	defer poller.Close()
	s.poller = poller
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	desk, err := s.checkIn(ctx, s.config.Mach)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s.networks.start()
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		poller.Wake()
	})
	s.work.Go(func() { s.attend(ctx, desk) })
	s.work.Go(func() {
		select {
		case <-s.networks.idled:
			s.log.Info("idle", "for", s.config.IdleExit)
			cancel()
		case <-ctx.Done():
		}
	})
	s.loop(ctx)
	cancel()
	s.networks.refuse()
	s.endAll()
	s.work.Wait()
	s.networks.close()
	if !stop() {
		<-stopped
	}
	return nil
}

// endAll ends all connections.
func (s *Service) endAll() {
	s.mu.Lock()
	var all []*connection
	for _, c := range s.connections {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		c.tell(vmnet.Event{Name: vmnet.Ending})
		c.end("the service ends")
	}
}

// desk is where new clients come: the name's port, and the connection to the broker that it is checked in by.
type desk struct {
	bootstrap *mach.Bootstrap
	port      *mach.ReceiveRight
}

func (s *Service) checkIn(ctx context.Context, o mach.Options) (*desk, error) {
	b, err := mach.Connect(ctx, o)
	if err != nil {
		return nil, err
	}
	port, err := b.CheckIn(ctx, s.config.Name)
	if err != nil {
		b.Close()
		return nil, err
	}
	s.log.Info("checked in", "name", s.config.Name, "driver", s.config.Driver.Name())
	s.config.Ready()
	return &desk{b, port}, nil
}

const (
	// How long to wait before the broker is looked for again.
	firstPause, lastPause = 20 * time.Millisecond, time.Second
)

// attend serves newcomers until the context ends, with one broker after the other.
func (s *Service) attend(ctx context.Context, d *desk) {
	for {
		s.await(ctx, d)
		if ctx.Err() != nil {
			return
		}
		if d = s.comeBack(ctx); d == nil {
			return
		}
	}
}

// await serves a port's newcomers until the broker or the port is gone. Who still has a right to the port can use it for
// longer.
func (s *Service) await(ctx context.Context, d *desk) {
	over, done := context.WithCancel(ctx)
	defer done()
	s.work.Go(func() {
		defer d.port.Close()
		s.receive(ctx, d.port)
		done()
	})
	why := d.bootstrap.Wait(over)
	d.bootstrap.Close()
	if ctx.Err() == nil {
		s.log.Warn("the broker, or the port, is gone; looking for it", "err", why)
	}
}

// receive takes newcomers until nobody can come any more.
func (s *Service) receive(ctx context.Context, port *mach.ReceiveRight) {
	for {
		m, err := port.Receive(ctx)
		switch {
		case err == nil:
			s.admit(ctx, m)
			m.Close()
		case ctx.Err() != nil, errors.Is(err, mach.ErrNoSenders), errors.Is(err, mach.ErrClosed):
			return
		default: // no descriptors, mostly: the client sees its connection end
			if s.refusals.allow(time.Now()) {
				s.log.Warn("a client was lost", "err", err)
			}
			if pause(ctx, firstPause) != nil {
				return
			}
		}
	}
}

// comeBack checks in with the next broker. It starts none: who wants networks does.
func (s *Service) comeBack(ctx context.Context) *desk {
	o := s.config.Mach
	o.NoAutostart = true
	if o.RuntimeDir == "" && o.Port == nil && os.Getenv(switchboard.EnvBootstrapFD) != "" {
		// The descriptor led to a broker that is no more.
		path := os.Getenv(switchboard.EnvBootstrap)
		if path == "" {
			s.log.Warn("the namespace has ended: no new clients, and the end when nothing is held")
			s.networks.hurry()
			return nil
		}
		o.RuntimeDir = filepath.Dir(path)
	}
	told := ""
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		if pause(ctx, wait) != nil {
			return nil
		}
		d, err := s.checkIn(ctx, o)
		if err == nil {
			return d
		}
		if text := err.Error(); text != told && ctx.Err() == nil {
			told = text
			s.log.Info("cannot check in again yet", "err", err)
		}
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
