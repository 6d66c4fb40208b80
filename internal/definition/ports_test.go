// SPDX-License-Identifier: Apache-2.0

package definition_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/internal/definition"
)

func TestParsePorts(t *testing.T) {
	t.Parallel()
	const head = "name = 'a'\nexec = ['/bin/a']\naccept = 'mach'\n"
	want := definition.Default()
	want.Name, want.Exec, want.Accept, want.IdleStop, want.Ports = "a", []string{"/bin/a"}, definition.Mach, 0, []string{"a"}
	with := func(change func(*definition.Definition)) definition.Definition {
		d := want
		change(&d)
		return d
	}
	for text, want := range map[string]definition.Definition{
		head:                       want,
		head + "launch = 'lookup'": want,
		head + "ports = ['a']":     want,
		"ports = ['a']\n" + head:   want,
		head + "ports = ['b.c', 'd~x', '~1x']\nlaunch = 'message'": with(func(d *definition.Definition) {
			d.Ports, d.OnMessage = []string{"b.c", "d~x", "~1x"}, true
		}),
		head + "start_timeout = '1s'\nstop_timeout = '0'\nrestart.min = '2s'\ndir = '/'\nenv = { A = 'x' }\npass_env = ['B']": with(func(d *definition.Definition) {
			d.StartTimeout, d.StopTimeout, d.RestartMin, d.Dir, d.Env, d.PassEnv = time.Second, 0, 2*time.Second, "/", []string{"A=x"}, []string{"B"}
		}),
	} {
		got, err := definition.Parse("", []byte(text))
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Parse(%q) (-want +got):\n%s", text, diff)
		}
		if err := got.Check(); err != nil {
			t.Errorf("Check of %q: %v", text, err)
		}
	}
}

func TestParseRefusesPorts(t *testing.T) {
	t.Parallel()
	const plain = "name = 'a'\nexec = ['/bin/a']\n" // two lines
	const head = plain + "accept = 'mach'\n"
	for _, test := range []struct {
		file, text string
		line       int
		want       string // the whole reason
	}{
		{"", plain + "ports = ['a']", 3, `ports goes with accept = "mach" only: add that, or leave ports out`},
		{"", plain + "accept = 'native'\nports = []", 4, `ports goes with accept = "mach" only: add that, or leave ports out`},
		{"", plain + "launch = 'lookup'", 3, `launch goes with accept = "mach" only: add that, or leave launch out`},
		{"", head + "version = '1.0.0'", 4, `version does not go with accept = "mach", where the ports are for everybody: leave it out`},
		{"/x/a@1.0.0.toml", head, 3, `accept = "mach" does not go with a version, and the file's name has one: rename the file to a.toml`},
		{"", head + "scope = 'user'", 4, `scope does not go with accept = "mach", where the ports are for everybody: leave it out`},
		{"", head + "scope = 'directory'\nmarker = ['x']", 4, `scope does not go with accept = "mach", where the ports are for everybody: leave it out`},
		{"", head + "idle_stop = '0'", 4, `idle_stop does not go with accept = "mach", since who sends to a port cannot be counted: leave it out`},
		{"", head + "ready = 'notify'", 4, `ready does not go with accept = "mach", where a process that runs is ready: leave it out`},
		{"", head + "user = 'b'", 4, `user "b" does not go with accept = "mach", since a service of another user cannot reach the broker's folder: accept must be "listener" or "connection"`},
		{"", head + "launch = 'demand'", 4, `launch is "demand", but it is "lookup" or "message"`},
		{"", head + "launch = ''", 4, `launch is "", but it is "lookup" or "message"`},
		{"", head + "ports = 'a'", 4, `ports is a text, and must be a list of texts, such as ["a", "b"]`},
		{"", head + "ports = ['a',\n 1]", 5, "ports has a number at place 2, and all in it must be texts in quotes"},
		{"", head + "ports = []", 4, "ports is empty: name at least one port, or leave it out for one with the name of the service"},
		{"", head + "ports = ['a',\n'',\n'a']", 5, `ports has no name at place 2: name "" is empty: a name is 1 to 127 printable ASCII characters without space, "/", "*" and "@", and not "." or ".."`},
		{"", head + "ports = ['b', 'a', 'b']", 4, `ports has "b" twice: keep one`},
		{"", head + "ports = ['a',\n'b~12']", 5, `ports has "b~12", which is the form of a name for one process: choose one that does not end with ~ and digits`},
		{"", "name = 'a~1'\nexec = ['/bin/a']\naccept = 'mach'", 1, `ports has "a~1", which is the form of a name for one process: choose one that does not end with ~ and digits`},
		{"", plain + "env.A = '${SWITCHBOARD_SOCKET}'\naccept = 'mach'", 3, `env has ${SWITCHBOARD_SOCKET}, but with accept = "mach" there is no socket: take it out, or choose accept = "path" or "listener"`},
	} {
		_, err := definition.Parse(test.file, []byte(test.text))
		var e *definition.Error
		if !errors.As(err, &e) || e.File != test.file || e.Line != test.line || e.Reason != test.want {
			t.Errorf("Parse(%q, %q):\n got %v\nwant line %d: %s", test.file, test.text, err, test.line, test.want)
		}
	}
}

// What only a definition that was not read can get wrong.
func TestCheckPorts(t *testing.T) {
	t.Parallel()
	mach := func(change func(*definition.Definition)) definition.Definition {
		return command(func(d *definition.Definition) {
			d.Accept, d.IdleStop, d.Ports = definition.Mach, 0, []string{"a"}
			change(d)
		})
	}
	if err := mach(same).Check(); err != nil {
		t.Error(err)
	}
	for want, d := range map[string]definition.Definition{
		"ports goes with":            command(func(d *definition.Definition) { d.Ports = []string{"a"} }),
		"launch goes with":           command(func(d *definition.Definition) { d.OnMessage = true }),
		"version does not go with":   mach(func(d *definition.Definition) { d.Version = "1.0.0" }),
		"scope does not go with":     mach(func(d *definition.Definition) { d.Scoped = true }),
		"idle_stop does not go with": mach(func(d *definition.Definition) { d.IdleStop = 1 }),
		"ready does not go with":     mach(func(d *definition.Definition) { d.Notify = true }),
		"ports is empty":             mach(func(d *definition.Definition) { d.Ports = nil }),
	} {
		if err := d.Check(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s…", err, want)
		}
	}
	base := mach(same).Hash()
	for what, change := range map[string]func(*definition.Definition){
		"another port": func(d *definition.Definition) { d.Ports = []string{"b"} },
		"one more":     func(d *definition.Definition) { d.Ports = []string{"a", "b"} },
		"launch":       func(d *definition.Definition) { d.OnMessage = true },
	} {
		if mach(change).Hash() == base {
			t.Errorf("%s: the same hash", what)
		}
	}
}

// A port is that of one definition: the first in the order of the folders.
func TestPortFaults(t *testing.T) {
	t.Parallel()
	first, second := private(t), private(t)
	mach := func(name, ports string) string {
		return service(name, "", "/bin/x") + "accept = 'mach'\n" + ports
	}
	write(t, filepath.Join(first, "a.toml"), mach("a", "ports = ['p', 'q']"), 0o600)
	write(t, filepath.Join(first, "b.toml"), mach("b", ""), 0o600)
	write(t, filepath.Join(first, "broken.toml"), mach("broken", "ports = ['r', 'r']"), 0o600)
	write(t, filepath.Join(first, "c.toml"), mach("c", "ports = [\n'r',\n'q']"), 0o600)
	write(t, filepath.Join(first, "l.toml"), service("l", "", "/bin/x"), 0o600)
	write(t, filepath.Join(second, "a.toml"), mach("a", "ports = ['b']"), 0o600)
	write(t, filepath.Join(second, "d.toml"), mach("d", "ports = ['r']"), 0o600) // c, which does not count, does not have it
	write(t, filepath.Join(second, "e.toml"), mach("e", "ports = ['l']"), 0o600)
	faults := definition.PortFaults(definition.NewCatalogue([]string{first, second}, os.Getuid()).All())
	got := make(map[string]string)
	for path, e := range faults {
		if e.File != path {
			t.Errorf("%s has the fault of %s", path, e.File)
		}
		got[filepath.Base(path)] = e.Error()
	}
	want := map[string]string{
		"c.toml": filepath.Join(first, "c.toml") + `:6: ports has "q", which ` + filepath.Join(first, "a.toml") + " has already: keep it in one of them",
		"e.toml": filepath.Join(second, "e.toml") + `:4: ports has "l", which ` + filepath.Join(first, "l.toml") + " has already: keep it in one of them",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
