// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/switchboard-ipc/switchboard/internal/guesttest"
)

// lab is a user with nothing but the two programs: the guests' user, whom nobody has set anything up for.
type lab struct {
	switchboard string
	env         []string
}

// newLab builds the programs, and ends what they left running with the test.
func newLab(t *testing.T) *lab {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute) // with nothing in the cache, beside all other tests
	defer cancel()
	dir := guesttest.Folder(t)
	// Programs of their own, as they are installed; not the test's, which may have the race detector in it.
	out, err := exec.CommandContext(ctx, "go", "build", "-o", dir, "../switchboard", "../switchboard-network").CombinedOutput()
	if err != nil {
		t.Fatalf("the programs cannot be built: %v\n%s", err, out)
	}
	run := filepath.Join(dir, "run")
	if err := os.Mkdir(run, 0o700); err != nil {
		t.Fatal(err)
	}
	if user := guesttest.Credential(); user != nil {
		if err := os.Chown(run, int(user.Uid), int(user.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	l := &lab{filepath.Join(dir, "switchboard"), []string{"HOME=" + dir, "XDG_RUNTIME_DIR=" + run, "TMPDIR=" + dir}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), scriptTimeout)
		defer cancel()
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(run, "*", "log", "*.log"))
			for _, name := range logs {
				text, _ := os.ReadFile(name)
				t.Logf("%s:\n%s", filepath.Base(name), text[max(0, len(text)-4096):])
			}
		}
		if out, err := l.command(ctx, "shutdown").CombinedOutput(); err != nil {
			t.Errorf("shutdown: %v\n%s", err, out)
		}
	})
	return l
}

// command is a switchboard command of that user's.
func (l *lab) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, l.switchboard, args...)
	cmd.Dir = "/"
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, l.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: guesttest.Credential()}
	return cmd
}

// output is what a command prints; the test fails if it does not end well.
func (l *lab) output(t *testing.T, ctx context.Context, args ...string) string {
	t.Helper()
	cmd := l.command(ctx, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("switchboard %s: %v\n%s%s", strings.Join(args, " "), err, out, &errs)
	}
	return string(out)
}

// boot starts a guest on a network.
func (l *lab) boot(t *testing.T, network, id string) *guesttest.Guest {
	t.Helper()
	return guesttest.Start(t, guesttest.Options{Command: []string{l.switchboard, "acquire", network, "--id", id, "--"}, Env: l.env})
}

// heldLease is what network leases --json says of one.
type heldLease struct {
	ID      string     `json:"id"`
	Network string     `json:"network"`
	MAC     string     `json:"mac"`
	IP      netip.Addr `json:"ip"`
	UID     int        `json:"uid"`
}

// leases are those that are held, by who holds them.
func (l *lab) leases(t *testing.T, ctx context.Context) map[string]heldLease {
	t.Helper()
	text := l.output(t, ctx, "network", "leases", "--json")
	var list []heldLease
	if err := json.Unmarshal([]byte(text), &list); err != nil || list == nil {
		t.Fatalf("leases are %q: %v", text, err)
	}
	held := make(map[string]heldLease)
	for _, lease := range list {
		held[lease.ID] = lease
	}
	return held
}

// awaitEnd wants a guest's lease to be gone within a second of its end, and its command to end as it did.
func (l *lab) awaitEnd(t *testing.T, ctx context.Context, g *guesttest.Guest, id string) {
	t.Helper()
	killed := time.Now()
	g.Kill()
	for {
		asked := time.Since(killed)
		if _, held := l.leases(t, ctx)[id]; !held {
			t.Logf("the lease of %s was gone when it was asked for %v after its guest's end", id, asked.Round(time.Millisecond))
			break
		}
		if asked > time.Second {
			t.Fatalf("%s has a lease %v after its guest's end", id, asked)
		}
	}
	if code := g.ExitCode(); code != 128+int(syscall.SIGKILL) {
		t.Errorf("acquire ended with %d, and its command of SIGKILL", code)
	}
}

var forwardAddress = regexp.MustCompile(`127\.0\.0\.1:[1-9][0-9]*`)

// forward has a port of this machine forwarded to a guest until the test ends.
func (l *lab) forward(t *testing.T, ctx context.Context, network, guest string) (address string) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	cmd := l.command(ctx, "network", "forward", network, guest, "127.0.0.1:0")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		r.Close()
	})
	var said []byte
	for b := make([]byte, 1024); ; {
		n, err := r.Read(b)
		said = append(said, b[:n]...)
		if address = forwardAddress.FindString(string(said)); address != "" && bytes.HasSuffix(said, []byte("\n")) {
			return address
		}
		if err != nil {
			t.Fatalf("forward said no address: %s", said)
		}
	}
}

// servers are on this machine: one says a token by HTTP, one answers questions by DNS with an address.
type servers struct {
	http, dns netip.AddrPort
	asked     atomic.Int64 // of both
}

const (
	hostToken  = "this is the host"
	hostAnswer = "203.0.113.77"
)

func serveOn(t *testing.T, a netip.Addr) *servers {
	t.Helper()
	s := new(servers)
	l, err := net.Listen("tcp", netip.AddrPortFrom(a, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.asked.Add(1)
		io.WriteString(w, hostToken)
	})}
	go web.Serve(l)
	t.Cleanup(func() { web.Close() })
	packets, err := net.ListenPacket("udp", netip.AddrPortFrom(a, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.answer(packets)
	}()
	t.Cleanup(func() { packets.Close(); <-done })
	s.http = l.Addr().(*net.TCPAddr).AddrPort()
	s.dns = packets.LocalAddr().(*net.UDPAddr).AddrPort()
	return s
}

// answer answers whatever is asked, until the socket is closed.
func (s *servers) answer(packets net.PacketConn) {
	for b := make([]byte, 1500); ; {
		n, from, err := packets.ReadFrom(b)
		if err != nil {
			return
		}
		s.asked.Add(1)
		var m dnsmessage.Message
		if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Response, m.Additionals = true, nil
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(hostAnswer).As4()},
			}}
		}
		if reply, err := m.Pack(); err == nil {
			packets.WriteTo(reply, from)
		}
	}
}

// askTCP and askUDP are what a guest says to reach the servers at an address.
func (s *servers) askTCP(at netip.Addr) string {
	return fmt.Sprintf("timeout 20 wget -q -O - http://%v/", netip.AddrPortFrom(at, s.http.Port()))
}

func (s *servers) askUDP(at netip.Addr) string {
	return fmt.Sprintf("nslookup host.example %v", netip.AddrPortFrom(at, s.dns.Port()))
}

// outside is an address of this machine's that is not its loopback; not valid if it has none.
func outside(t *testing.T) netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			return p.Addr()
		}
	}
	return netip.Addr{}
}
