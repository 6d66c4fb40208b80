// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// TestMachLaunched has foreign programs launched by the first look-up of a port, or by the first message to it.
func TestMachLaunched(t *testing.T) {
	t.Parallel()
	eachMachUser(t, func(t *testing.T, m *machSide) {
		services := filepath.Join(m.home, "services")
		if err := os.Mkdir(services, 0o755); err != nil {
			t.Fatal(err)
		}
		if m.user != nil {
			if err := os.Chown(services, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
		define := func(name, language, launch string) {
			argv := m.argv(language, "backend", "path", name)
			for i, a := range argv {
				argv[i] = fmt.Sprintf("%q", a)
			}
			text := fmt.Sprintf("name = %q\nexec = [%s]\naccept = \"mach\"\nlaunch = %q\n", name+".service", strings.Join(argv, ", "), launch)
			text += fmt.Sprintf("ports = [%q]\n", name)
			file := filepath.Join(services, name+".service.toml")
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if m.user != nil {
				if err := os.Chown(file, 65534, 65534); err != nil {
					t.Fatal(err)
				}
			}
		}
		define("com.example.by-lookup", "c", "lookup")
		define("com.example.by-message", "python", "message")
		m.flags = []string{"--services", services}
		m.serve(t)
		for _, name := range []string{"com.example.by-lookup", "com.example.by-message"} {
			until(t, "the port to be declared", func() bool { return m.known(t, name) })
			for _, language := range machLanguages {
				if r := m.once(t, language, "client", m.socket(), name); r.Checks < 50 {
					t.Errorf("%s looked at %d things only", language, r.Checks)
				}
			}
		}
	})
}

// known reports whether a name is a port; unlike a look-up it launches nothing.
func (m *machSide) known(t *testing.T, name string) bool {
	t.Helper()
	c := machDial(t, m.socket())
	defer c.c.Close()
	reply, _ := c.call(t, mach.Request{Routine: mach.Status, Service: name})
	return reply.Code == mach.OK
}

// TestMachRun runs foreign programs that have nothing but the bootstrap port which they inherit.
func TestMachRun(t *testing.T) {
	t.Parallel()
	eachMachUser(t, func(t *testing.T, m *machSide) {
		const name, other = "com.example.seen", "com.example.unseen"
		m.serve(t)
		var servers []*machProcess
		for _, n := range []string{name, other} {
			s := m.start(t, "c", "serve", m.socket(), n, "newest")
			s.ready(t)
			servers = append(servers, s)
		}
		before := m.settled(t)
		run := func(language, want string, flags, args []string) {
			t.Helper()
			argv := append([]string{m.binary(), "run"}, append(flags, "--")...)
			cmd := m.command(t, append(argv, m.argv(language, args...)...)...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			var r machResult
			switch {
			case want != "":
				if err == nil || !strings.Contains(stderr.String(), want) {
					t.Errorf("run %q %q %q: %v, not %q\n%s", flags, language, args, err, want, &stderr)
				}
			case err != nil:
				t.Errorf("run %q %q %q: %v\n%s", flags, language, args, err, &stderr)
			case json.Unmarshal(out, &r) != nil || r.Checks < 50:
				t.Errorf("run %q %q %q printed %q", flags, language, args, out)
			}
		}
		for _, language := range machLanguages {
			for _, flags := range [][]string{nil, {"--subset"}, {"--only", name}, {"--namespace", "work"}} {
				run(language, "", flags, []string{"client", "port", name})
			}
			run(language, "", nil, []string{"client", "path", name})
			run(language, "1102", []string{"--only", name}, []string{"client", "port", other})
			run(language, "1102", []string{"--subset"}, []string{"client", "port", "com.example.nobody"})
		}
		m.noLeak(t, before)
		for _, s := range servers {
			s.end(t)
		}
	})
}
