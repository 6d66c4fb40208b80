// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/switchboard-ipc/switchboard/network/config"
	"github.com/switchboard-ipc/switchboard/network/usernet"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
)

// paperDriver makes networks of nothing: for tests of what time does to them.
type paperDriver struct {
	mu   sync.Mutex
	made int
	fail error
	slow time.Duration // how long making and closing take
}

func (*paperDriver) Name() string                { return "paper" }
func (*paperDriver) Check(*config.Network) error { return nil }

func (d *paperDriver) Make(n *config.Network, taken, _ []netip.Prefix) (Network, error) {
	time.Sleep(d.slow) // virtual time
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return nil, d.fail
	}
	d.made++
	subnet := netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", d.made))
	return &paperNetwork{driver: d, info: usernet.Info{Name: n.Name, Subnet: subnet, Gateway: subnet.Addr().Next()}, open: true}, nil
}

type paperNetwork struct {
	Network
	driver *paperDriver
	info   usernet.Info
	mu     sync.Mutex
	guests int
	open   bool
}

func (n *paperNetwork) Info() usernet.Info { return n.info }

func (n *paperNetwork) Close() error {
	time.Sleep(n.driver.slow)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open = false
	return nil
}

func (n *paperNetwork) Attach(_ usernet.Kind, mac net.HardwareAddr) (Attachment, error) {
	end, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.open {
		return nil, net.ErrClosed
	}
	n.guests++
	return &paperGuest{n: n, end: end, done: make(chan struct{})}, nil
}

type paperGuest struct {
	n    *paperNetwork
	end  *os.File
	done chan struct{}
}

func (g *paperGuest) IP() netip.Addr         { return g.n.info.Gateway.Next() }
func (g *paperGuest) File() *os.File         { return g.end }
func (g *paperGuest) Stats() usernet.Traffic { return usernet.Traffic{} }
func (g *paperGuest) Done() <-chan struct{}  { return g.done }
func (g *paperGuest) Err() error             { return nil }
func (g *paperGuest) Ended() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}
func (g *paperGuest) Close() error {
	g.n.mu.Lock()
	defer g.n.mu.Unlock()
	g.n.guests--
	close(g.done)
	return g.end.Close()
}

// inTime runs a test under virtual time with networks of paper, whose files say how long each stays.
func inTime(t *testing.T, change func(*Config, *paperDriver), test func(t *testing.T, n *networks, d *paperDriver)) {
	t.Parallel()
	folder := t.TempDir()
	for name, delay := range map[string]string{"usual": "", "now": `removal_delay = "0s"`, "long": `removal_delay = "1h"`, "ever": `removal_delay = "never"`} {
		if err := os.WriteFile(filepath.Join(folder, name+".toml"), []byte("mode = \"shared\"\n"+delay+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		d := &paperDriver{}
		c := Config{Folders: []string{folder}, UID: os.Geteuid(), Driver: d, MaxNetworks: 8, MaxLeases: 100, Logger: slog.New(slog.DiscardHandler)}
		if change != nil {
			change(&c, d)
		}
		n := newNetworks(c, func(uint64) bool { return false }, func(uint64, vmnet.Event) {})
		n.start()
		test(t, n, d)
		n.close()
	})
}

func (n *networks) get(t *testing.T, connection uint64, name string) vmnet.Details {
	t.Helper()
	d, fd, err := n.acquire(t.Context(), connection, vmnet.Request{Network: name, ID: fmt.Sprint(connection)}, &Client{pidfd: -1})
	if err != nil {
		t.Fatalf("acquire %s: %v", name, err)
	}
	fd.Close()
	return d
}

func (n *networks) there(name string) bool { return n.running()[name] != nil }

func TestNetworkStaysForItsDelay(t *testing.T) {
	for name, delay := range map[string]time.Duration{"usual": 120 * time.Second, "long": time.Hour} {
		t.Run(name, func(t *testing.T) {
			inTime(t, nil, func(t *testing.T, n *networks, d *paperDriver) {
				n.open(1)
				first := n.get(t, 1, name)
				time.Sleep(24 * time.Hour)
				n.leave(1)
				time.Sleep(delay - time.Second)
				synctest.Wait()
				if !n.there(name) {
					t.Fatal("it is gone a second too early")
				}
				n.open(2)
				if again := n.get(t, 2, name); again.Subnet != first.Subnet {
					t.Errorf("its subnet is %s, and was %s", again.Subnet, first.Subnet)
				}
				time.Sleep(24 * time.Hour)
				synctest.Wait()
				if !n.there(name) {
					t.Fatal("it is gone while somebody holds it")
				}
				n.leave(2)
				time.Sleep(delay + time.Millisecond)
				synctest.Wait()
				if n.there(name) {
					t.Error("it is there after its delay")
				}
				n.open(3)
				if again := n.get(t, 3, name); again.Subnet == first.Subnet || d.made != 2 {
					t.Errorf("it was not made anew: subnet %s, %d made", again.Subnet, d.made)
				}
				n.leave(3)
			})
		})
	}
}

func TestNetworkWithoutDelay(t *testing.T) {
	inTime(t, nil, func(t *testing.T, n *networks, _ *paperDriver) {
		n.open(1)
		n.get(t, 1, "now")
		n.leave(1)
		synctest.Wait()
		if n.there("now") {
			t.Error("it is still there")
		}
	})
}

func TestNetworkThatIsNeverRemoved(t *testing.T) {
	inTime(t, func(c *Config, _ *paperDriver) { c.IdleExit = time.Second }, func(t *testing.T, n *networks, _ *paperDriver) {
		n.open(1)
		n.get(t, 1, "ever")
		n.leave(1)
		time.Sleep(1000 * time.Hour)
		synctest.Wait()
		if !n.there("ever") {
			t.Error("it is gone")
		}
		select {
		case <-n.idled:
			t.Error("the service is idle, and would remove it")
		default:
		}
	})
}

func TestIdle(t *testing.T) {
	inTime(t, func(c *Config, _ *paperDriver) { c.IdleExit = time.Minute }, func(t *testing.T, n *networks, _ *paperDriver) {
		idle := func(after time.Duration) bool {
			time.Sleep(after)
			synctest.Wait()
			select {
			case <-n.idled:
				return true
			default:
				return false
			}
		}
		if idle(50 * time.Second) {
			t.Fatal("idle before its time")
		}
		n.open(1) // holds nothing, and is there
		if idle(time.Hour) {
			t.Fatal("idle with a connection")
		}
		n.get(t, 1, "usual")
		n.leave(1)
		if idle(120*time.Second + 59*time.Second) {
			t.Fatal("idle before a minute without a network")
		}
		if !idle(2 * time.Second) {
			t.Fatal("not idle after a minute with nothing")
		}
		if n.open(2) {
			t.Error("somebody came in after the end")
		}
	})
}

func TestOneMakesWhileOthersWait(t *testing.T) {
	slow := func(_ *Config, d *paperDriver) { d.slow = time.Second }
	inTime(t, slow, func(t *testing.T, n *networks, d *paperDriver) {
		const callers = 20
		subnets := make(chan string, callers)
		for i := range uint64(callers) {
			n.open(i)
			go func() { subnets <- n.get(t, i, "now").Subnet }()
		}
		one := <-subnets
		for range callers - 1 {
			if s := <-subnets; s != one {
				t.Errorf("subnets %s and %s", one, s)
			}
		}
		for i := range uint64(callers) {
			n.leave(i)
		}
		n.open(99) // while it is being removed: a new one, afterwards
		if s := n.get(t, 99, "now").Subnet; s == one || d.made != 2 {
			t.Errorf("subnet %s again, %d made", s, d.made)
		}
		n.leave(99)
	})
}

func TestWhoWaitsCanGiveUp(t *testing.T) {
	slow := func(_ *Config, d *paperDriver) { d.slow = time.Minute }
	inTime(t, slow, func(t *testing.T, n *networks, _ *paperDriver) {
		n.open(1)
		n.open(2)
		var work sync.WaitGroup
		work.Go(func() { n.get(t, 1, "now") })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := n.acquire(ctx, 2, vmnet.Request{Network: "now"}, &Client{pidfd: -1}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("acquire: %v", err)
		}
		work.Wait()
		n.leave(1)
		n.leave(2)
	})
}

func TestWhoLeavesWhileItIsMade(t *testing.T) {
	slow := func(_ *Config, d *paperDriver) { d.slow = time.Minute }
	inTime(t, slow, func(t *testing.T, n *networks, d *paperDriver) {
		n.open(1)
		var work sync.WaitGroup
		work.Go(func() {
			if _, _, err := n.acquire(t.Context(), 1, vmnet.Request{Network: "usual"}, &Client{pidfd: -1}); !errors.Is(err, errGone) {
				t.Errorf("acquire: %v", err)
			}
		})
		synctest.Wait()
		n.leave(1)
		work.Wait()
		if !n.there("usual") {
			t.Fatal("the network was not made")
		}
		time.Sleep(5 * time.Minute) // its delay, and the minute that closing takes
		synctest.Wait()
		if n.there("usual") {
			t.Error("nobody ever held it, and it stays")
		}
	})
}

func TestFailureToMakeLeavesNothing(t *testing.T) {
	broken := func(c *Config, d *paperDriver) { d.fail, c.IdleExit = errors.New("no paper"), time.Second }
	inTime(t, broken, func(t *testing.T, n *networks, d *paperDriver) {
		n.open(1)
		_, _, err := n.acquire(t.Context(), 1, vmnet.Request{Network: "usual"}, &Client{pidfd: -1})
		var refusal *vmnet.Refusal
		if !errors.As(err, &refusal) || refusal.Code != vmnet.CreateFailure {
			t.Errorf("acquire: %v", err)
		}
		d.mu.Lock()
		d.fail = nil
		d.mu.Unlock()
		n.get(t, 1, "usual")
		n.leave(1)
		time.Sleep(time.Hour)
		<-n.idled
	})
}

func TestSameIDTwice(t *testing.T) {
	inTime(t, nil, func(t *testing.T, n *networks, _ *paperDriver) {
		macs := make(map[string]bool)
		get := func(connection uint64) string {
			n.open(connection)
			d, fd, err := n.acquire(t.Context(), connection, vmnet.Request{Network: "usual", ID: "vm"}, &Client{pidfd: -1})
			if err != nil {
				t.Fatal(err)
			}
			fd.Close()
			return d.MAC
		}
		for i := range uint64(5) {
			macs[get(i)] = true
		}
		if len(macs) != 5 {
			t.Errorf("%d MACs for 5 guests", len(macs))
		}
		n.leave(0)
		if first := get(9); !macs[first] {
			t.Errorf("MAC %s is not the one that became free", first)
		}
		for i := range uint64(10) {
			n.leave(i)
		}
	})
}
