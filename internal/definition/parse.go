// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/switchboard-ipc/switchboard/internal/keyline"
	"github.com/switchboard-ipc/switchboard/internal/name"
)

// Suffix is how the name of a definition file ends: NAME.toml or NAME@VERSION.toml.
const Suffix = ".toml"

// Parse reads the text of a definition file, and refuses whatever is not exactly
// as it must be: an unknown key, a value of another type, a rule that is not kept,
// a name or version that is not that of the file. The file's path is only looked
// at, not opened; "" stands for a text without a file. The error is an [*Error]
// with a line.
func Parse(file string, data []byte) (Definition, error) {
	refuse := func(line int, reason string) (Definition, error) {
		return Definition{}, &Error{File: file, Line: line, Reason: reason}
	}
	var values map[string]any
	if err := toml.Unmarshal(data, &values); err != nil {
		line := 1
		var syntax *toml.DecodeError
		if errors.As(err, &syntax) {
			line, _ = syntax.Position()
		}
		return refuse(line, "this is not TOML: "+strings.TrimPrefix(err.Error(), "toml: "))
	}
	at := keyline.OfTOML(data)
	d := Default()
	f := d.read(values, at.Order())
	if f == nil {
		f = d.fault()
	}
	if f == nil && file != "" {
		f = d.matchFile(filepath.Base(file))
	}
	if f != nil {
		return refuse(at.Line(f.key), f.reason)
	}
	d.File = file
	return d, nil
}

// matchFile compares a definition with the base name of its file.
func (d *Definition) matchFile(base string) *fault {
	f, err := fileNamed(base)
	switch {
	case err != nil:
		return &fault{"name", err.Error()}
	case f.Name != d.Name:
		return faultf("name", "name %q is not that of the file, %q: rename the file to %s, or change the name", d.Name, f.Name, d.Name+Suffix)
	case f.Version != "" && d.Accept == Mach:
		return faultf("accept", `accept = "mach" does not go with a version, and the file's name has one: rename the file to %s`, d.Name+Suffix)
	case f.Version == "" || f.Version == d.Version:
	case d.Version == "":
		d.Version = f.Version
	default:
		return faultf("version", "version %q is not that of the file, %q: rename the file to %s, or leave the version out", d.Version, f.Version,
			d.Name+"@"+d.Version+Suffix)
	}
	return nil
}

// fileNamed reads the base name of a definition file.
func fileNamed(base string) (File, error) {
	stem, ok := strings.CutSuffix(base, Suffix)
	if !ok {
		return File{}, fmt.Errorf("file %q is not named as a definition: name it NAME.toml or NAME@VERSION.toml", keyline.Clip(base))
	}
	if strings.HasPrefix(stem, ".") {
		return File{}, fmt.Errorf("file %q begins with a dot, and such files are not read: name the file and the service otherwise", keyline.Clip(base))
	}
	service, version, versioned := strings.Cut(stem, "@")
	f := File{Name: service, Version: version}
	if err := name.Check(service); err != nil {
		return f, fmt.Errorf("file %q is not named after a service: %w", keyline.Clip(base), err)
	}
	if versioned && !isVersion(version) {
		return f, fmt.Errorf("file %q has no version after the @: name it NAME@MAJOR.MINOR.PATCH.toml, such as %s@1.4.0.toml", keyline.Clip(base), service)
	}
	return f, nil
}

// The keys of a definition, for people.
const knownKeys = "name, version, exec, accept, ready, scope, marker, idle_stop, start_timeout, stop_timeout, env, pass_env, dir, restart, user, ports and launch"

// read takes the values of a text, in its order.
func (d *Definition) read(values map[string]any, order []string) *fault {
	_, named := values["name"]
	_, marked := values["marker"]
	given := slices.Collect(maps.Keys(values))
	f := each("", values, order, func(key string, value any) *fault { return d.set(key, value, order) })
	switch {
	case f != nil:
		return f
	case !named:
		return &fault{"", `name is missing: write the service's name, such as name = "com.example.greeter"`}
	case marked && !d.Scoped:
		return &fault{"marker", `marker goes with scope = "directory" only: add that, or leave marker out`}
	}
	return d.completePorts(given)
}

// set takes the value of one key.
func (d *Definition) set(key string, value any, order []string) *fault {
	switch key {
	case "name":
		return text(key, value, &d.Name)
	case "version":
		return nonEmpty(key, value, &d.Version)
	case "exec":
		return list(key, value, &d.Exec)
	case "accept":
		return text(key, value, (*string)(&d.Accept))
	case "ready":
		return oneOf(key, value, &d.Notify, "", "notify", `it can only be "notify": leave it out otherwise`)
	case "scope":
		return oneOf(key, value, &d.Scoped, "user", "directory", `it is "user" or "directory"`)
	case "marker":
		return list(key, value, &d.Markers)
	case "idle_stop":
		return duration(key, value, &d.IdleStop)
	case "start_timeout":
		return duration(key, value, &d.StartTimeout)
	case "stop_timeout":
		return duration(key, value, &d.StopTimeout)
	case "env":
		return d.setEnv(value, order)
	case "pass_env":
		return list(key, value, &d.PassEnv)
	case "dir":
		return nonEmpty(key, value, &d.Dir)
	case "restart":
		return d.setRestart(value, order)
	case "user":
		return nonEmpty(key, value, &d.User)
	case "ports":
		return list(key, value, &d.Ports)
	case "launch":
		return oneOf(key, value, &d.OnMessage, "lookup", "message", `it is "lookup" or "message"`)
	}
	return faultf(key, "unknown key %q: the keys are %s", keyline.Clip(key), knownKeys)
}

func (d *Definition) setEnv(value any, order []string) *fault {
	return table("env", value, order, `such as env = { LANG = "C.UTF-8" }`, func(key string, value any) *fault {
		var v string
		if f := text("env."+key, value, &v); f != nil {
			return f
		}
		if key == "" || strings.Contains(key, "=") { // it would not be seen any more in "K=V"
			return checkVariable("env", "env."+key, key)
		}
		d.Env = append(d.Env, key+"="+v)
		slices.Sort(d.Env)
		return nil
	})
}

func (d *Definition) setRestart(value any, order []string) *fault {
	return table("restart", value, order, `such as restart = { min = "100ms", max = "30s" }`, func(key string, value any) *fault {
		switch key {
		case "min":
			return duration("restart.min", value, &d.RestartMin)
		case "max":
			return duration("restart.max", value, &d.RestartMax)
		}
		return faultf("restart."+key, `unknown key %q: restart has "min" and "max"`, keyline.Clip("restart."+key))
	})
}
