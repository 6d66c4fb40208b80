// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/switchboard-ipc/switchboard/internal/keyline"
	"github.com/switchboard-ipc/switchboard/internal/name"
)

const (
	// maxVersion is the length of the longest version, in bytes (docs/session.md).
	maxVersion = 128
	// maxDuration is the longest time a definition may name.
	maxDuration = 365 * 24 * time.Hour

	// What is filled in in exec words and values of env.
	socketReference = "${SWITCHBOARD_SOCKET}"
	scopeReference  = "${SCOPE}"
)

// fault is what is wrong with one key of a definition.
type fault struct {
	key    string // as it is in a file: "exec", "exec[2]", "restart.min", "env.LANG"
	reason string
}

func faultf(key, format string, args ...any) *fault {
	return &fault{key: key, reason: fmt.Sprintf(format, args...)}
}

// Check applies the rules of a file to a definition that was not read from one. Its error is an [*Error] without a line.
func (d Definition) Check() error {
	if f := d.fault(); f != nil {
		return &Error{File: d.File, Reason: f.reason}
	}
	return nil
}

// fault returns the first thing that is wrong, or nil.
func (d Definition) fault() *fault {
	for _, rule := range []func(Definition) *fault{
		checkName, checkVersion, checkExec, checkAccept, checkPorts, checkReady, checkMarkers, checkDir, checkUser,
		checkTimes, checkEnv, checkPassEnv, checkReferences,
	} {
		if f := rule(d); f != nil {
			return f
		}
	}
	return nil
}

func checkName(d Definition) *fault {
	if err := name.Check(d.Name); err != nil {
		return &fault{"name", err.Error()}
	}
	return nil
}

func checkVersion(d Definition) *fault {
	if d.Version != "" && !isVersion(d.Version) {
		return faultf("version", "version %q is malformed: write MAJOR.MINOR.PATCH, such as 1.4.0", keyline.Clip(d.Version))
	}
	return nil
}

// isVersion says whether s is a semantic version with all its three numbers.
func isVersion(s string) bool {
	_, err := semver.StrictNewVersion(s)
	return err == nil && len(s) <= maxVersion
}

func checkExec(d Definition) *fault {
	if len(d.Exec) == 0 {
		return &fault{"exec", `exec is missing: write the command's words, such as exec = ["/usr/bin/greeterd", "--foreground"]`}
	}
	if !filepath.IsAbs(d.Exec[0]) {
		return faultf("exec", "exec begins with %q, which is not an absolute path: write where the program is, such as /usr/bin/greeterd", keyline.Clip(d.Exec[0]))
	}
	for i, word := range d.Exec {
		if hasNUL(word) {
			return faultf(keyline.Element("exec", i), "exec has a NUL byte in word %d: no argument can have one, take it out", i+1)
		}
	}
	return nil
}

func checkAccept(d Definition) *fault {
	switch d.Accept {
	case Listener, Connection, Path, Native, Mach:
		return nil
	}
	return faultf("accept", `accept %q is unknown: it is "listener", "connection", "path", "native" or "mach"`, keyline.Clip(string(d.Accept)))
}

func checkReady(d Definition) *fault {
	if d.Notify && d.Accept == Connection {
		return &fault{"ready", `ready = "notify" does not go with accept = "connection", where a process has its caller from the start: leave ready out`}
	}
	return nil
}

func checkMarkers(d Definition) *fault {
	if len(d.Markers) == 0 {
		return &fault{"marker", `marker is empty: name at least one file or folder, or leave it out for the usual ones (.git and the like)`}
	}
	for i, m := range d.Markers {
		if m == "" || m == "." || m == ".." || strings.ContainsAny(m, "/\x00") {
			return faultf(keyline.Element("marker", i), `marker %q is not the name of a file in a folder: write one without "/", such as ".git"`, keyline.Clip(m))
		}
	}
	return nil
}

func checkDir(d Definition) *fault {
	switch {
	case d.Dir == "":
		return nil
	case !filepath.IsAbs(d.Dir):
		return faultf("dir", "dir %q is not an absolute path: write it from the root, or leave it out for the scope's folder or /", keyline.Clip(d.Dir))
	case hasNUL(d.Dir):
		return &fault{"dir", "dir has a NUL byte: no path can have one, take it out"}
	}
	return nil
}

func checkUser(d Definition) *fault {
	switch {
	case d.User == "":
		return nil
	case strings.ContainsAny(d.User, ":\n\x00"):
		return faultf("user", "user %q is not the name of a user: write one from the user database, such as greeter", keyline.Clip(d.User))
	case d.Accept == Path || d.Accept == Native || d.Accept == Mach:
		return faultf("user", `user %q does not go with accept = %q, since a service of another user cannot reach the broker's folder: accept must be "listener" or "connection"`,
			keyline.Clip(d.User), d.Accept)
	}
	return nil
}

func checkTimes(d Definition) *fault {
	for _, t := range []struct {
		key   string
		value time.Duration
		zero  bool // allowed
	}{
		{"idle_stop", d.IdleStop, true},
		{"start_timeout", d.StartTimeout, false},
		{"stop_timeout", d.StopTimeout, true},
		{"restart.min", d.RestartMin, false},
		{"restart.max", d.RestartMax, false},
	} {
		switch {
		case t.value < 0:
			return faultf(t.key, `%s is negative (%v): write a time such as "10s" or "5m"`, t.key, t.value)
		case t.value == 0 && !t.zero:
			return faultf(t.key, `%s is 0: write a time such as "100ms" or "10s"`, t.key)
		case t.value > maxDuration:
			return faultf(t.key, "%s is %v: the longest is %v", t.key, t.value, maxDuration)
		}
	}
	if d.RestartMin > d.RestartMax {
		return faultf("restart.min", "restart.min (%v) is longer than restart.max (%v): raise restart.max or lower restart.min", d.RestartMin, d.RestartMax)
	}
	return nil
}

func checkEnv(d Definition) *fault {
	seen := make(map[string]bool, len(d.Env))
	for _, e := range d.Env {
		key, value, ok := strings.Cut(e, "=")
		if !ok {
			return faultf("env", "env has %q, which is not of the form NAME=VALUE", keyline.Clip(e))
		}
		if f := checkVariable("env", "env."+key, key); f != nil {
			return f
		}
		if hasNUL(value) {
			return faultf("env."+key, "env has a NUL byte in the value of %q: no variable can have one, take it out", keyline.Clip(key))
		}
		if seen[key] {
			return faultf("env."+key, "env has %q twice: keep one", keyline.Clip(key))
		}
		seen[key] = true
	}
	return nil
}

func checkPassEnv(d Definition) *fault {
	for i, key := range d.PassEnv {
		at := keyline.Element("pass_env", i)
		if f := checkVariable("pass_env", at, key); f != nil {
			return f
		}
		if slices.Contains(d.PassEnv[:i], key) {
			return faultf(at, "pass_env has %q twice: keep one", keyline.Clip(key))
		}
		if slices.ContainsFunc(d.Env, func(e string) bool { return strings.HasPrefix(e, key+"=") }) {
			return faultf(at, "pass_env has %q, to which env gives a value: keep it in one of them", keyline.Clip(key))
		}
	}
	return nil
}

// checkVariable says what is wrong with the name of an environment variable, which is in a list and at a key.
func checkVariable(list, at, variable string) *fault {
	switch {
	case variable == "":
		return faultf(at, "%s has a variable without a name: give it one, or take it out", list)
	case strings.ContainsAny(variable, "=\x00"):
		return faultf(at, `%s has %q, which is not the name of a variable: one has no "=" and no NUL byte`, list, keyline.Clip(variable))
	case variable == "NOTIFY_SOCKET", strings.HasPrefix(variable, "LISTEN_"), strings.HasPrefix(variable, "SWITCHBOARD_"):
		return faultf(at, "%s has %q, which is the broker's to set (like LISTEN_*, NOTIFY_SOCKET and SWITCHBOARD_*): take it out", list, keyline.Clip(variable))
	}
	return nil
}

// checkReferences says what would be filled in, and is not there.
func checkReferences(d Definition) *fault {
	for i, word := range d.Exec {
		if f := checkReference(d, keyline.Element("exec", i), "exec", word); f != nil {
			return f
		}
	}
	for _, e := range d.Env {
		key, value, _ := strings.Cut(e, "=")
		if f := checkReference(d, "env."+key, "env", value); f != nil {
			return f
		}
	}
	return nil
}

func checkReference(d Definition, at, key, text string) *fault {
	if strings.Contains(text, socketReference) && d.Accept != Path && d.Accept != Listener {
		return faultf(at, `%s has %s, but with accept = %q there is no socket: take it out, or choose accept = "path" or "listener"`, key, socketReference, d.Accept)
	}
	if strings.Contains(text, scopeReference) && !d.Scoped {
		return faultf(at, `%s has %s, but there is no scope: take it out, or add scope = "directory"`, key, scopeReference)
	}
	return nil
}

func hasNUL(s string) bool { return strings.IndexByte(s, 0) >= 0 }
