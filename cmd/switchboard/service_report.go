// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/definition"
)

// service is a definition with what runs of it, as service ls and show print it with --json; or what the broker launched
// without one.
type service struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	File    string `json:"file"`  // "": there is no definition
	Error   string `json:"error"` // why the definition does not count, as FILE:LINE: reason, else ""

	// Of a valid definition.
	Exec         []string `json:"exec"`
	Accept       string   `json:"accept"`
	Ready        string   `json:"ready"` // "notify", or "" for what Accept says
	Scope        string   `json:"scope"` // "user" or "directory"
	Markers      []string `json:"marker"`
	IdleStop     string   `json:"idle_stop"` // like 10m0s; 0s: never
	StartTimeout string   `json:"start_timeout"`
	StopTimeout  string   `json:"stop_timeout"`
	Env          []string `json:"env"`
	PassEnv      []string `json:"pass_env"`
	Dir          string   `json:"dir"`
	RestartMin   string   `json:"restart_min"`
	RestartMax   string   `json:"restart_max"`
	User         string   `json:"user"`

	Instances []instance `json:"instances"`

	anyVersion bool // of running-process: its callers say which
}

// instance is a process that has the name.
type instance struct {
	PID      int    `json:"pid"`
	State    string `json:"state"`
	Scope    string `json:"scope"`
	Since    string `json:"since"`    // RFC 3339 with milliseconds
	Instance string `json:"instance"` // "": the broker did not launch it
	Command  string `json:"command"`
}

// services reads the definitions of a name, or all ("").
func (a *app) services(ctx context.Context, name string) ([]service, error) {
	client := a.onlyRunning()
	defer client.Close()
	folders, broker := a.serviceFolders(ctx, client)
	uid := os.Geteuid()
	var running []switchboard.Entry
	if broker != nil {
		uid = broker.UID
		var err error
		if running, err = runningNames(ctx, client); err != nil {
			return nil, err
		}
	}
	files, err := definition.List(folders)
	all := faultyFolders(err)
	if name != "" {
		all = nil
	}
	for _, f := range files {
		if name == "" || f.Name == name {
			all = append(all, newService(f, uid, running))
		}
	}
	all = append(all, foreignServices(name, uid, running)...)
	all = append(all, undefined(all, name, running)...)
	return append([]service{}, all...), nil // an empty list prints as []
}

// undefined makes services of what the broker launched for a name, or all (""), without a definition that is valid now: commands
// on the spot, and what runs on after its file has changed.
func undefined(defined []service, name string, running []switchboard.Entry) (all []service) {
	for _, e := range running {
		same := func(s service) bool { return s.runs(e) }
		if e.Instance == "" || name != "" && e.Name != name || slices.ContainsFunc(defined, same) {
			continue
		}
		i := slices.IndexFunc(all, same)
		if i < 0 {
			i = len(all)
			all = append(all, service{Name: e.Name, Version: e.Version})
		}
		all[i].Instances = append(all[i].Instances, newInstance(e))
	}
	return all
}

func newInstance(e switchboard.Entry) instance {
	return instance{e.PID, e.State.String(), e.Scope, timestamp(e.Since), e.Instance, e.Command}
}

// runningNames lists the names of the root namespace.
func runningNames(ctx context.Context, client *switchboard.Client) ([]switchboard.Entry, error) {
	watcher, err := client.Watch(ctx, "*")
	if err != nil {
		return nil, err
	}
	defer watcher.Close()
	entries, err := listNames(ctx, watcher)
	return slices.DeleteFunc(entries, func(e switchboard.Entry) bool { return e.Namespace != "/" }), err
}

// faultyFolders are those that cannot be read.
func faultyFolders(err error) (all []service) {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return nil
	}
	for _, err := range joined.Unwrap() {
		s := service{Error: err.Error(), Instances: []instance{}}
		var fault *definition.Error
		if errors.As(err, &fault) {
			s.File = fault.File
		}
		all = append(all, s)
	}
	return all
}

func newService(f definition.File, uid int, running []switchboard.Entry) service {
	s := service{Name: f.Name, Version: f.Version, File: f.Path, Instances: []instance{}}
	d, err := definition.Load(f.Path, uid)
	if err != nil {
		s.Error = err.Error()
		return s
	}
	s.Version = d.Version
	s.Exec, s.Accept, s.Env, s.PassEnv, s.Dir, s.User = d.Exec, string(d.Accept), d.Env, d.PassEnv, d.Dir, d.User
	s.IdleStop, s.StartTimeout, s.StopTimeout = d.IdleStop.String(), d.StartTimeout.String(), d.StopTimeout.String()
	s.RestartMin, s.RestartMax = d.RestartMin.String(), d.RestartMax.String()
	if d.Notify {
		s.Ready = "notify"
	}
	if s.Scope = "user"; d.Scoped {
		s.Scope, s.Markers = scopeOfProject, d.Markers
	}
	for _, e := range running {
		if e.Name == d.Name && e.Version == d.Version {
			s.Instances = append(s.Instances, newInstance(e))
		}
	}
	return s
}

// versioned is a name with its version, if it has one.
func versioned(name, version string) string {
	if version == "" {
		return name
	}
	return name + " " + version
}

// commandLine writes words so that a shell would read them.
func commandLine(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		if w == "" || strings.ContainsFunc(w, needsQuotes) {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		quoted[i] = w
	}
	return strings.Join(quoted, " ")
}

func needsQuotes(r rune) bool {
	return !strings.ContainsRune("%+,-./:=@_", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// never stands for an idle stop of 0.
func never(d string) string {
	if d == time.Duration(0).String() {
		return "never"
	}
	return d
}
