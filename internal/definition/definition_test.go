// SPDX-License-Identifier: Apache-2.0

package definition_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"

	"github.com/switchboard-ipc/switchboard/internal/definition"
)

// command is a definition that obeys the rules.
func command(change func(*definition.Definition)) definition.Definition {
	d := definition.Default()
	d.Name = "a"
	d.Exec = []string{"/bin/a", "b"}
	d.Env = []string{"A=1", "B=2"}
	d.PassEnv = []string{"C", "D"}
	change(&d)
	return d
}

func same(*definition.Definition) {}

// A command on the spot obeys the rules of a file; what only such a command can get wrong is refused as well.
func TestCheck(t *testing.T) {
	t.Parallel()
	if err := command(same).Check(); err != nil {
		t.Error(err)
	}
	tests := []struct {
		change func(*definition.Definition)
		want   string
	}{
		{func(d *definition.Definition) { *d = definition.Definition{} }, `name "" is empty`},
		{func(d *definition.Definition) { d.Exec = nil }, "exec is missing"},
		{func(d *definition.Definition) { d.Exec = []string{"./a"} }, `exec begins with "./a"`},
		{func(d *definition.Definition) { d.Exec = []string{"/" + strings.Repeat("x", 100) + "\x00"} }, "exec has a NUL byte in word 1"},
		{func(d *definition.Definition) { d.Version = "1" }, `version "1" is malformed`},
		{func(d *definition.Definition) { d.Version = "1.0.0-" + strings.Repeat("x", 200) }, `is malformed`},
		{func(d *definition.Definition) { d.Accept = "" }, `accept "" is unknown`},
		{func(d *definition.Definition) { d.Env = []string{"A"} }, `env has "A", which is not of the form NAME=VALUE`},
		{func(d *definition.Definition) { d.Env = []string{"=x"} }, "env has a variable without a name"},
		{func(d *definition.Definition) { d.Env = []string{"A=1", "A=2"} }, `env has "A" twice`},
		{func(d *definition.Definition) { d.Env = []string{"SWITCHBOARD_SCOPE=/"} }, `env has "SWITCHBOARD_SCOPE"`},
		{func(d *definition.Definition) { d.PassEnv = []string{"A"} }, `pass_env has "A", to which env gives a value`},
		{func(d *definition.Definition) { d.Dir = "x" }, `dir "x" is not an absolute path`},
		{func(d *definition.Definition) { d.StartTimeout = 0 }, "start_timeout is 0"},
		{func(d *definition.Definition) { d.Exec[1] = "${SCOPE}" }, "exec has ${SCOPE}"},
	}
	for _, test := range tests {
		err := command(test.change).Check()
		var e *definition.Error
		if !errors.As(err, &e) || e.File != "" || e.Line != 0 || !strings.HasPrefix(err.Error(), e.Reason) || !strings.Contains(e.Reason, test.want) {
			t.Errorf("got %v, want …%s…", err, test.want)
		}
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	base := command(same).Hash()
	if len(base) != 32 || strings.Trim(base, "0123456789abcdef") != "" {
		t.Errorf("Hash() = %q", base)
	}
	for what, change := range map[string]func(*definition.Definition){
		"name, version, file": func(d *definition.Definition) { d.Name, d.Version, d.File = "b", "1.0.0", "/x" },
		"times":               func(d *definition.Definition) { d.IdleStop, d.RestartMin = 0, 1 },
		"order":               func(d *definition.Definition) { d.Env = []string{"B=2", "A=1"}; d.PassEnv = []string{"D", "C"} },
		"markers, no scope":   func(d *definition.Definition) { d.Markers = []string{"x"} },
	} {
		if command(change).Hash() != base {
			t.Errorf("%s: another hash", what)
		}
	}
	seen := map[string]string{base: "base"}
	for what, change := range map[string]func(*definition.Definition){
		"word":          func(d *definition.Definition) { d.Exec[1] = "c" },
		"words joined":  func(d *definition.Definition) { d.Exec = []string{"/bin/ab"} },
		"word moved":    func(d *definition.Definition) { d.Exec, d.Env = []string{"/bin/a"}, []string{"b", "A=1", "B=2"} },
		"env":           func(d *definition.Definition) { d.Env[0] = "A=2" },
		"env moved":     func(d *definition.Definition) { d.Env, d.PassEnv = []string{"A=1"}, []string{"B=2", "C", "D"} },
		"pass_env":      func(d *definition.Definition) { d.PassEnv = nil },
		"dir":           func(d *definition.Definition) { d.Dir = "/" },
		"user":          func(d *definition.Definition) { d.User = "/" },
		"accept":        func(d *definition.Definition) { d.Accept = definition.Path },
		"ready":         func(d *definition.Definition) { d.Notify = true },
		"scope":         func(d *definition.Definition) { d.Scoped = true },
		"scope, marker": func(d *definition.Definition) { d.Scoped, d.Markers = true, []string{"x"} },
	} {
		h := command(change).Hash()
		if other, ok := seen[h]; ok {
			t.Errorf("%s has the hash of %s", what, other)
		}
		seen[h] = what
	}
}

func TestLowestVersion(t *testing.T) {
	t.Parallel()
	for constraint, want := range map[string]string{
		"": "", "1.4.0": "1.4.0", "1.4.0-rc.1+b": "1.4.0-rc.1+b", "^1.2": "1.2.0", "~1.2.3": "1.2.3", ">=1.2,<2": "1.2.0", ">= 1.2, < 2": "1.2.0",
		"<2,>=1.2": "1.2.0", "1.2 - 1.4": "1.2.0", "^1 || ^2": "1.0.0", "1.x": "1.0.0", "1.2.x": "1.2.0", "1": "1.0.0", "v1.2": "1.2.0",
		"=1.2.3": "1.2.3", "^1.2.0-beta.1": "1.2.0-beta.1", "*": "0.0.0", ">1.2,<=1.4": "1.4.0",
	} {
		if got, err := definition.LowestVersion(constraint); got != want || err != nil {
			t.Errorf("LowestVersion(%q) = %q, %v, want %q", constraint, got, err, want)
		}
	}
	for constraint, want := range map[string]string{
		">1.2": "ask for an exact version", "<2": "ask for an exact version", ">=2,<1": "ask for an exact version", "!=1.2.3": "ask for an exact version",
		"newest": "is malformed", "1.2.3.4": "is malformed", "^": "is malformed", strings.Repeat("9", 600): "is malformed",
	} {
		if got, err := definition.LowestVersion(constraint); err == nil || got != "" || !strings.Contains(err.Error(), want) {
			t.Errorf("LowestVersion(%q) = %q, %v, want …%s…", constraint, got, err, want)
		}
	}
}

func FuzzLowestVersion(f *testing.F) {
	for _, s := range []string{"", "^1.2", ">=1.2,<2", "1.2 - 1.4", "*", "v1.x", "~1.2.3-a+b", "||", "1-+"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, constraint string) {
		version, err := definition.LowestVersion(constraint)
		if err != nil || constraint == "" {
			if version != "" {
				t.Fatalf("%q and %v", version, err)
			}
			return
		}
		v, err := semver.StrictNewVersion(version)
		if err != nil {
			t.Fatalf("%q: %v", version, err)
		}
		if version == constraint {
			return
		}
		if c, err := semver.NewConstraint(constraint); err != nil || !c.Check(v) {
			t.Fatalf("%q does not satisfy %q (%v)", version, constraint, err)
		}
	})
}

// write makes a file with just this mode.
func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
