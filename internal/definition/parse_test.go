// SPDX-License-Identifier: Apache-2.0

package definition_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/internal/definition"
)

// full has every key, as the documentation shows them.
const full = `
name = "com.example.greeter"
version = "1.4.0"
exec = ["/usr/bin/greeterd", "--foreground", "${SWITCHBOARD_SOCKET}", "${SCOPE}", "${HOME}"]
accept = "path"
ready = "notify"
scope = "directory"
marker = [".git", "go.work"]
idle_stop = "0"
start_timeout = "1m"
stop_timeout = "1.5s"
env = { LANG = "C.UTF-8", "A.B" = "x=y", AT = "${SWITCHBOARD_SOCKET}" }
pass_env = ["SSH_AUTH_SOCK", "TERM"]
dir = "/srv"
restart = { min = "1s", max = "1s" }
`

func TestParse(t *testing.T) {
	t.Parallel()
	minimal := definition.Default()
	minimal.Name = "a"
	minimal.Exec = []string{"/bin/a"}
	with := func(change func(*definition.Definition)) definition.Definition {
		d := minimal
		change(&d)
		return d
	}
	tests := []struct {
		title, file, text string
		want              definition.Definition
	}{
		{"every key", "/etc/x/com.example.greeter@1.4.0.toml", full, definition.Definition{
			File: "/etc/x/com.example.greeter@1.4.0.toml", Name: "com.example.greeter", Version: "1.4.0",
			Exec:   []string{"/usr/bin/greeterd", "--foreground", "${SWITCHBOARD_SOCKET}", "${SCOPE}", "${HOME}"},
			Accept: definition.Path, Notify: true, Scoped: true, Markers: []string{".git", "go.work"},
			IdleStop: 0, StartTimeout: time.Minute, StopTimeout: 1500 * time.Millisecond,
			Env:     []string{"A.B=x=y", "AT=${SWITCHBOARD_SOCKET}", "LANG=C.UTF-8"},
			PassEnv: []string{"SSH_AUTH_SOCK", "TERM"}, Dir: "/srv", RestartMin: time.Second, RestartMax: time.Second,
		}},
		{"defaults", "", "name = 'a'\nexec = ['/bin/a']", minimal},
		{"defaults, written out", "", `name = "a"
			exec = ["/bin/a"]
			accept = "listener"
			scope = "user"
			idle_stop = "10m"
			start_timeout = "10s"
			stop_timeout = "5s"
			restart = { min = "100ms", max = "30s" }`, minimal},
		{"tables and dotted keys", "", "name = 'a'\nexec = ['/bin/a']\nrestart.max = '1m'\n[env]\nB = '2'\nA = ''\n",
			with(func(d *definition.Definition) { d.RestartMax = time.Minute; d.Env = []string{"A=", "B=2"} })},
		{"version of the file", "a@2.0.0-rc.1.toml", "name = 'a'\nexec = ['/bin/a']",
			with(func(d *definition.Definition) { d.File = "a@2.0.0-rc.1.toml"; d.Version = "2.0.0-rc.1" })},
		{"version in the text only", "a.toml", "name = 'a'\nversion = '2.0.0'\nexec = ['/bin/a']",
			with(func(d *definition.Definition) { d.File = "a.toml"; d.Version = "2.0.0" })},
		{"user", "", "name = 'a'\nexec = ['/bin/a']\nuser = 'greeter'\naccept = 'connection'",
			with(func(d *definition.Definition) { d.User = "greeter"; d.Accept = definition.Connection })},
		{"empty arguments", "", "name = 'a'\nexec = ['/bin/a', '', 'ü']\r\n",
			with(func(d *definition.Definition) { d.Exec = []string{"/bin/a", "", "ü"} })},
	}
	for _, test := range tests {
		got, err := definition.Parse(test.file, []byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", test.title, err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.title, diff)
		}
		if err := got.Check(); err != nil {
			t.Errorf("%s: Check: %v", test.title, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const head = "name = 'a'\nexec = ['/bin/a']\n" // two lines
	tests := []struct {
		file, text string
		line       int
		want       string // in the reason
	}{
		// The text.
		{"", "", 1, "name is missing"},
		{"", "exec = ['/bin/a']", 1, "name is missing"},
		{"", "name = 'a'\n", 1, "exec is missing"},
		{"", "name = 'a'\n\nexec = '/bin/a'", 3, `exec is a text, and must be a list of texts`},
		{"", head + "idle_stop = \n", 3, "this is not TOML: "},
		{"", head + "name = 'b'", 3, "this is not TOML: "},
		{"", head + "[env]\nA = 'x'\n[env]\n", 5, "this is not TOML: "},
		{"", head + "env = {", 3, "this is not TOML: "},
		{"", head + "dir = '\xff'", 3, "this is not TOML: "},
		// Keys.
		{"", head + "\n# words\nidle_stopp = '1s'", 5, `unknown key "idle_stopp": the keys are name, `},
		{"", head + "Name = 'a'", 3, `unknown key "Name"`},
		{"", head + "\n[service]\nx = 1", 4, `unknown key "service"`},
		{"", head + "[[service]]", 3, `unknown key "service"`},
		{"", head + "'restart.min' = '1s'", 3, `unknown key "restart.min"`},
		{"", head + "'' = '1s'", 3, `unknown key ""`},
		{"", head + "restart = {\n min = '1s',\n mix = '2s' }", 5, `unknown key "restart.mix": restart has "min" and "max"`},
		// Types.
		{"", head + "version = 1", 3, "version is a number, and must be a text"},
		{"", head + "accept = true", 3, "accept is true or false, and must be a text"},
		{"", head + "dir = 1979-05-27", 3, "dir is a date or time"},
		{"", head + "idle_stop = 0", 3, `idle_stop is a number, and must be a time in quotes`},
		{"", head + "env = ['A=b']", 3, "env is a list, and must be a table"},
		{"", head + "[[env]]", 3, "env is a list, and must be a table"},
		{"", head + "[env]\n\nA = 1", 5, "env.A is a number, and must be a text"},
		{"", head + "env.A.B = 'x'", 3, "env.A is a table, and must be a text"},
		{"", head + "pass_env = 'A'", 3, "pass_env is a text, and must be a list"},
		{"", head + "pass_env = ['A',\n # two\n 2]", 5, "pass_env has a number at place 2"},
		{"", head + "restart = '1s'", 3, "restart is a text, and must be a table"},
		// Names and versions.
		{"", "exec = ['/bin/a']\nname = 'a/b'", 2, `name "a/b" has '/' at byte 2`},
		{"", head + "version = '1.4'", 3, `version "1.4" is malformed`},
		{"", head + "version = 'v1.4.0'", 3, `version "v1.4.0" is malformed`},
		{"", head + "version = ''", 3, "version is empty"},
		{"/x/b.toml", "\nname = 'a'\nexec = ['/bin/a']\n", 2, `name "a" is not that of the file, "b": rename the file to a.toml`},
		{"/x/a@1.4.0.toml", head + "version = '1.5.0'", 3, `version "1.5.0" is not that of the file, "1.4.0"`},
		{"/x/a@1.toml", head, 1, `file "a@1.toml" has no version after the @`},
		{"/x/a@.toml", head, 1, "has no version after the @"},
		{"/x/a@1.0.0@2.toml", head, 1, "has no version after the @"},
		{"/x/a", head, 1, `file "a" is not named as a definition`},
		{"/x/a.toml.bak", head, 1, `is not named as a definition`},
		{"/x/a b.toml", head, 1, `file "a b.toml" is not named after a service: name "a b" has a space`},
		{"/x/.a.toml", "name = '.a'\nexec = ['/bin/a']", 1, "begins with a dot"},
		// Rules.
		{"", "name = 'a'\nexec = []", 2, "exec is missing"},
		{"", "name = 'a'\nexec = ['a', 'b']", 2, `exec begins with "a", which is not an absolute path`},
		{"", "name = 'a'\nexec = ['']", 2, `exec begins with ""`},
		{"", "name = 'a'\nexec = ['${SCOPE}/a']\nscope = 'directory'", 2, `not an absolute path`},
		{"", "name = 'a'\nexec = [\n'/bin/a',\n\"x\\u0000\"]", 4, "exec has a NUL byte in word 2"},
		{"", head + "accept = 'inetd'", 3, `accept "inetd" is unknown: it is "listener", `},
		{"", head + "accept = ''", 3, `accept "" is unknown`},
		{"", head + "accept = 'connection'\nready = 'notify'", 4, `ready = "notify" does not go with accept = "connection"`},
		{"", head + "ready = 'exec'", 3, `ready is "exec", but it can only be "notify"`},
		{"", head + "ready = ''", 3, `ready is "", but it can only be "notify"`},
		{"", head + "scope = 'project'", 3, `scope is "project", but it is "user" or "directory"`},
		{"", head + "marker = ['.git']", 3, `marker goes with scope = "directory" only`},
		{"", head + "scope = 'directory'\nmarker = []", 4, "marker is empty"},
		{"", head + "scope = 'directory'\nmarker = [\n'.git',\n'a/b']", 6, `marker "a/b" is not the name of a file`},
		{"", head + "scope = 'directory'\nmarker = ['..']", 4, `marker ".." is not`},
		{"", head + "dir = 'srv'", 3, `dir "srv" is not an absolute path`},
		{"", head + "dir = ''", 3, "dir is empty"},
		{"", head + `dir = "/\u0000"`, 3, "dir has a NUL byte"},
		{"", head + "user = ''", 3, "user is empty"},
		{"", head + `user = "a:b"`, 3, `user "a:b" is not the name of a user`},
		{"", head + "accept = 'native'\nuser = 'b'", 4, `user "b" does not go with accept = "native"`},
		{"", head + "accept = 'path'\nuser = 'b'", 4, `cannot reach the broker's folder: accept must be "listener" or "connection"`},
		{"", head + "idle_stop = '10'", 3, `idle_stop is "10", which is not a time`},
		{"", head + "idle_stop = '-1s'", 3, "idle_stop is negative (-1s)"},
		{"", head + "start_timeout = '0'", 3, "start_timeout is 0"},
		{"", head + "stop_timeout = '20000h'", 3, "stop_timeout is 20000h0m0s: the longest is 8760h0m0s"},
		{"", head + "restart = { min = '0' }", 3, "restart.min is 0"},
		{"", head + "restart.max = '1s'\nrestart.min = '2s'", 4, "restart.min (2s) is longer than restart.max (1s)"},
		{"", head + "restart.min = '1m'", 3, "restart.min (1m0s) is longer than restart.max (30s)"},
		{"", head + "restart.max = '1ms'", 3, "restart.min (100ms) is longer than restart.max (1ms)"},
		{"", head + "env = { '' = 'x' }", 3, "env has a variable without a name"},
		{"", head + "[env]\nA = 'x'\n'B=C' = 'x'", 5, `env has "B=C", which is not the name of a variable`},
		{"", head + "env.LISTEN_FDS = '1'", 3, `env has "LISTEN_FDS", which is the broker's to set`},
		{"", head + "env = { A = \"x\\u0000\" }", 3, `env has a NUL byte in the value of "A"`},
		{"", head + "env = { \"A\\u0000\" = 'x' }", 3, `which is not the name of a variable`},
		{"", head + "pass_env = ['NOTIFY_SOCKET']", 3, `pass_env has "NOTIFY_SOCKET", which is the broker's to set`},
		{"", head + "pass_env = ['A',\n'SWITCHBOARD_NAME']", 4, `pass_env has "SWITCHBOARD_NAME"`},
		{"", head + "pass_env = ['']", 3, "pass_env has a variable without a name"},
		{"", head + "pass_env = ['A=b']", 3, `pass_env has "A=b", which is not the name of a variable`},
		{"", head + "pass_env = ['A', 'A']", 3, `pass_env has "A" twice`},
		{"", head + "pass_env = ['A']\nenv = { A = 'x' }", 3, `pass_env has "A", to which env gives a value`},
		{"", "name = 'a'\nexec = ['/bin/a',\n'--at=${SWITCHBOARD_SOCKET}']\naccept = 'native'", 3, `exec has ${SWITCHBOARD_SOCKET}, but with accept = "native" there is no socket`},
		{"", head + "env = { A = '${SWITCHBOARD_SOCKET}' }\naccept = 'connection'", 3, `env has ${SWITCHBOARD_SOCKET}, but with accept = "connection"`},
		{"", head + "env = { A = 'x', B = '${SCOPE}/y' }", 3, `env has ${SCOPE}, but there is no scope: take it out, or add scope = "directory"`},
	}
	for _, test := range tests {
		_, err := definition.Parse(test.file, []byte(test.text))
		var e *definition.Error
		if !errors.As(err, &e) {
			t.Errorf("Parse(%q, %q) = %v, want an Error", test.file, test.text, err)
			continue
		}
		if e.File != test.file || e.Line != test.line || !strings.Contains(e.Reason, test.want) {
			t.Errorf("Parse(%q, %q):\n got line %d: %s\nwant line %d: …%s…", test.file, test.text, e.Line, e.Reason, test.line, test.want)
		}
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]*definition.Error{
		"/x/a.toml:3: dir is empty": {File: "/x/a.toml", Line: 3, Reason: "dir is empty"},
		"/x/a.toml: too large":      {File: "/x/a.toml", Reason: "too large"},
		"exec is missing":           {Reason: "exec is missing"},
	} {
		if got := e.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		full, "", "name = 'a'\nexec = ['/bin/a']", "[env]\nA = 'x'\n[restart]\nmin = '1s'", "[[a]]\nb.c = {d = [1, {e = 2}]}",
		"name = \"\"\"\na\"\"\"", "\"\".name = 1\nenv.\"\".x = 2", "env = { 'A.B' = '1', A.B = '2' }", "exec = [\n'/a', # b\n\"\\u0000\"]",
		"idle_stop = '9223372036s'\nrestart = { min = '-1ns' }", "pass_env = [[], [[]]]", "\xef\xbb\xbfname = 'a'", "a = 1979-05-27T07:32:00Z",
	} {
		f.Add("a@1.0.0.toml", []byte(text))
		f.Add("", []byte(text))
	}
	f.Fuzz(func(t *testing.T, file string, data []byte) {
		d, err := definition.Parse(file, data)
		if err != nil {
			var e *definition.Error
			if !errors.As(err, &e) {
				t.Fatalf("error is a %T", err)
			}
			if lines := 1 + strings.Count(string(data), "\n"); e.Line < 1 || e.Line > lines {
				t.Fatalf("line %d of %d: %v", e.Line, lines, err)
			}
			if e.File != file || e.Reason == "" || strings.ContainsAny(e.Reason, "\n\r\x00") {
				t.Fatalf("reason %q", e.Reason)
			}
			if !cmp.Equal(d, definition.Definition{}) {
				t.Fatal("an error, and a definition too")
			}
			return
		}
		if d.File != file {
			t.Fatalf("file %q became %q", file, d.File)
		}
		if err := d.Check(); err != nil {
			t.Fatalf("parsed, and then refused: %v", err)
		}
		again, err := definition.Parse(file, data)
		if err != nil || !cmp.Equal(d, again) || d.Hash() != again.Hash() {
			t.Fatalf("the second time: %v\n%s", err, cmp.Diff(d, again))
		}
	})
}
