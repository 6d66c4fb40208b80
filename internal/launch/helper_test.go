// SPDX-License-Identifier: Apache-2.0

//go:build linux

package launch

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/launch/order"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// eventually polls until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(2 * time.Millisecond); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

func instance(t *testing.T) string {
	t.Helper()
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b[:])
}

func launcher(t *testing.T, c Config) *Launcher {
	t.Helper()
	l, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// shell is a backend that is a shell script.
func shell(t *testing.T, accept Accept, script string) Command {
	t.Helper()
	id := instance(t)
	return Command{
		Instance: id, Name: "com.example.test", Argv: []string{"/bin/sh", "-c", script}, Accept: accept, UID: -1, GID: -1,
		Env: []string{"PATH=" + rootPath, "SWITCHBOARD_INSTANCE=" + id},
	}
}

// started is a process that a test launched, with its log.
type started struct {
	*Process
	log string
}

func start(t *testing.T, l *Launcher, c Command, socket *sys.FD) started {
	t.Helper()
	f, err := OpenLog(t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := l.Start(c, socket, f.File)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.KillTree(); err != nil {
			t.Error(err)
		}
		p.Close()
	})
	return started{p, f.Path}
}

func launched(t *testing.T, l *Launcher, c Command, socket *sys.FD) started {
	t.Helper()
	s := start(t, l, c, socket)
	if err := s.Order(c); err != nil {
		t.Fatal(err)
	}
	return s
}

// reports collects what the shim says until it hangs up.
func (s started) reports(t *testing.T) []order.Report {
	t.Helper()
	var list []order.Report
	buf := sys.NewBuffer(4096)
	eventually(t, "the shim's hang-up", func() bool {
		for {
			n, err := buf.Recv(s.Control.Int())
			if err != nil {
				return false
			}
			if n == 0 {
				return true
			}
			r, err := order.ParseReport(buf.Data[:n])
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, r)
		}
	})
	return list
}

func (s started) exit(t *testing.T) Status {
	t.Helper()
	var status Status
	eventually(t, "the exit", func() bool {
		var ok bool
		status, ok = s.Wait()
		return ok
	})
	return status
}

func (s started) output(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// waitOutput waits until the log has a line with this prefix, and returns the rest of it.
func (s started) waitOutput(t *testing.T, prefix string) string {
	t.Helper()
	rest := ""
	eventually(t, "a line "+prefix, func() bool {
		for line := range strings.Lines(s.output(t)) {
			if r, ok := strings.CutPrefix(line, prefix); ok && strings.HasSuffix(r, "\n") {
				rest = strings.TrimSuffix(r, "\n")
				return true
			}
		}
		return false
	})
	return rest
}
