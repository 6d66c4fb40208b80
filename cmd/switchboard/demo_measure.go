// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard"
)

const (
	demoCallers  = 64                     // processes that call at once
	demoDeaths   = 5                      // owners that are killed
	mostDeaths   = 50                     // on a machine so busy that it delays the word of each of them
	deathWanted  = 10 * time.Millisecond  // from SIGKILL to the watcher's event
	lookUpTime   = 300 * time.Millisecond // of each look-up figure
	dialRounds   = 300
	lookUpClient = 8
)

// stepTogether lets 64 processes call one name at the same moment.
func stepTogether(ctx context.Context, t *tour) (string, error) {
	gate, open, err := os.Pipe() // the callers wait for its end
	if err != nil {
		return "", err
	}
	defer gate.Close()
	defer open.Close()
	var callers []*process
	for range demoCallers {
		cmd := t.command(t.self, "_demo", "caller", demoGo)
		cmd.Stdin = gate
		out, err := cmd.StdoutPipe()
		if err != nil {
			return "", err
		}
		p, err := t.start(cmd)
		if err != nil {
			return "", err
		}
		defer out.Close()
		callers = append(callers, p)
		ready := make(chan error, 1)
		go func() {
			_, err := bufio.NewReader(out).ReadString('\n')
			ready <- err
		}()
		select {
		case err := <-ready:
			if err != nil {
				return "", errors.Join(err, p.wait(ctx))
			}
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	began := time.Now()
	open.Close()
	for _, p := range callers {
		if err := p.wait(ctx); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d processes called %s at once: all answered and gone after %.0f ms", demoCallers, demoGo,
		float64(time.Since(began).Microseconds())/1000), nil
}

// stepDeath kills owners and measures how soon a watcher knows.
func stepDeath(ctx context.Context, t *tour) (string, error) {
	watcher, err := t.client.Watch(ctx, demoDoomed)
	if err != nil {
		return "", err
	}
	defer watcher.Close()
	var took []time.Duration
	for len(took) < demoDeaths || slices.Min(took) > deathWanted && len(took) < mostDeaths {
		p, err := t.owner(ctx, demoDoomed, t.command(t.self, "_demo", "owner", demoDoomed))
		if err != nil {
			return "", err
		}
		if _, err := nextEvent(ctx, watcher, switchboard.Appeared); err != nil {
			return "", err
		}
		began := time.Now()
		if err := syscall.Kill(p.pid(), syscall.SIGKILL); err != nil {
			return "", fmt.Errorf("cannot kill the owner: %w", err)
		}
		if _, err := nextEvent(ctx, watcher, switchboard.Gone); err != nil {
			return "", err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	detail := fmt.Sprintf("%d owners killed: the watcher knew after %s (median; worst %s)", len(took),
		millis(took[len(took)/2]), millis(took[len(took)-1]))
	if took[0] > deathWanted { // a busy machine may delay many, not all
		return "", fmt.Errorf("%s, and never within %s", detail, millis(deathWanted))
	}
	return detail, nil
}

// stepLookUps counts look-ups of a name.
func stepLookUps(ctx context.Context, t *tour) (string, error) {
	one, err := lookUpRate(ctx, t, 1)
	if err != nil {
		return "", err
	}
	many, err := lookUpRate(ctx, t, lookUpClient)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s a second with one client, %s with %d", thousands(one), thousands(many), lookUpClient), nil
}

// lookUpRate counts look-ups per second of a number of clients with a session each.
func lookUpRate(ctx context.Context, t *tour, clients int) (float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var count atomic.Int64
	errs := make([]error, clients)
	var wait sync.WaitGroup
	began := time.Now()
	for i := range clients {
		wait.Go(func() {
			client := t.newClient()
			defer client.Close()
			for time.Since(began) < lookUpTime && errs[i] == nil {
				_, errs[i] = client.LookUp(ctx, demoGo)
				count.Add(1)
			}
		})
	}
	wait.Wait()
	return float64(count.Load()) / time.Since(began).Seconds(), errors.Join(errs...)
}

// stepDial compares a call by name with a connection to a known path of the same process: both to the first byte of
// the answer.
func stepDial(ctx context.Context, t *tour) (string, error) {
	var byName, plain []time.Duration
	for range dialRounds {
		d, err := timeCall(func() (net.Conn, error) { return t.client.Dial(ctx, demoGo) })
		if err != nil {
			return "", err
		}
		byName = append(byName, d)
		d, err = timeCall(func() (net.Conn, error) { return address{"unix", t.plainSocket()}.dial(ctx) })
		if err != nil {
			return "", err
		}
		plain = append(plain, d)
	}
	slices.Sort(byName)
	slices.Sort(plain)
	name, path := byName[len(byName)/2], plain[len(plain)/2]
	return fmt.Sprintf("to the first byte of the answer %s by name, %s by plain connect: %.1f times", micros(name),
		micros(path), float64(name)/float64(path)), nil
}

// timeCall connects, sends a byte, and stops the clock at the first byte of the answer.
func timeCall(dial func() (net.Conn, error)) (time.Duration, error) {
	began := time.Now()
	c, err := dial()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var b [1]byte
	if _, err := c.Write([]byte("x")); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
func micros(d time.Duration) string { return fmt.Sprintf("%d µs", d.Microseconds()) }

// thousands writes a count with separators: 123,456.
func thousands(f float64) string {
	digits := fmt.Sprintf("%.0f", f)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
