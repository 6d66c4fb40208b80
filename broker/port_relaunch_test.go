// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// A message of a look-up that the owner did not live to serve launches, though the port was back before it came.
func TestPortLaunchedAfterLookUp(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("svc.toml", s.ports("svc", "restart = { min = \"20ms\", max = \"40ms\" }", "serve", "p", "q"))
	b := s.broker()
	c := bootstrap(t, b.dir)
	pid := c.lookUp("p").question().answered()
	for tried, end := false, time.Now().Add(deadline); !tried; {
		began := time.Now()
		send := c.lookUp("p")
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() string {
			if st := c.status("p"); st != 2 {
				return fmt.Sprintf("status %d", st)
			}
			return ""
		})
		if tried = time.Since(began) < 500*time.Millisecond; !tried { // too slow: it may be too long ago
			if time.Now().After(end) {
				t.Skip("SKIPPED: this machine is too slow; the other tests of launches ran")
			}
			pid = c.lookUp("p").question().answered()
			continue
		}
		if again := send.question().answered(); again == pid {
			t.Error("who was killed answered")
		}
	}
}

// A process that the last broker launched checks in at the next one, which launches no other for its port meanwhile.
func TestPortAdopted(t *testing.T) {
	t.Parallel()
	for how, end := range map[string]func(*testBroker){"crash": (*testBroker).crash, "shutdown --keep-backends": (*testBroker).leave} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			s.add("svc.toml", s.ports("svc", "", "return", "p"))
			first := s.broker()
			pid := bootstrap(t, first.dir).lookUp("p").question().answered()
			end(first)
			b := s.next(first)
			if again := bootstrap(t, b.dir).lookUp("p").question().answered(); again != pid {
				t.Errorf("process %d answered, not %d", again, pid)
			}
			open(t, b.dir).launches(t, 0)
		})
	}
}
