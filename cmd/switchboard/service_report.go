// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/definition"
	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/launch"
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
	Ports        []string `json:"ports"`  // with accept "mach"
	Launch       string   `json:"launch"` // likewise: "lookup" or "message"

	Instances []instance `json:"instances"`

	Failure string `json:"failure,omitempty"`  // why its last start failed, if it does not run
	RetryIn string `json:"retry_in,omitempty"` // for how long it is not tried again, like 1.5s; "": its next caller has it tried

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
	var launched []launch.Record
	if broker != nil {
		launched, _ = launch.LookAtRecords(filepath.Join(broker.Folder, launch.RecordFolder)) // those that are written just now are left out
	}
	files, err := definition.List(folders)
	all := faultyFolders(err)
	if name != "" {
		all = nil
	}
	for _, e := range loadAll(files, uid) {
		if name == "" || e.Name == name {
			s := newService(e, running)
			s.addUnchecked(launched)
			all = append(all, s)
		}
	}
	all = append(all, foreignServices(name, uid, running)...)
	all = append(all, undefined(all, name, running)...)
	if broker != nil {
		addFailures(all, broker.Failures)
	}
	return append([]service{}, all...), nil // an empty list prints as []
}

// addFailures adds why services do not run.
func addFailures(all []service, failures []switchboard.Failure) {
	for i := range all {
		s := &all[i]
		for _, f := range failures {
			if s.Error != "" || f.Name != s.Name || f.Version != s.Version && !s.anyVersion {
				continue
			}
			if s.Failure = f.Reason; f.Wait > 0 {
				s.RetryIn = f.Wait.String()
			}
			break
		}
	}
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

// readAll reads each definition by itself.
func readAll(files []definition.File, uid int) []definition.Entry {
	all := make([]definition.Entry, len(files))
	for i, f := range files {
		all[i].File = f
		all[i].Definition, all[i].Err = definition.Load(f.Path, uid)
	}
	return all
}

// loadAll reads definitions as a broker of the user uid would, those at fault included.
func loadAll(files []definition.File, uid int) []definition.Entry {
	all := readAll(files, uid)
	faults := definition.PortFaults(all)
	for i := range all {
		if fault := faults[all[i].Path]; fault != nil {
			all[i].Definition, all[i].Err = definition.Definition{}, fault
		}
	}
	return all
}

func newService(e definition.Entry, running []switchboard.Entry) service {
	s := service{Name: e.Name, Version: e.Version, File: e.Path, Instances: []instance{}}
	if e.Err != nil {
		s.Error = e.Err.Error()
		return s
	}
	d := e.Definition
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
	if d.Accept == definition.Mach {
		s.Ports, s.Launch = d.Ports, "lookup"
		if d.OnMessage {
			s.Launch = "message"
		}
	}
	for _, e := range running {
		if s.runs(e) && !slices.ContainsFunc(s.Instances, func(i instance) bool { return e.Instance != "" && i.Instance == e.Instance }) {
			s.Instances = append(s.Instances, newInstance(e))
		}
	}
	return s
}

// addUnchecked adds the processes of a service with ports that have checked none in: nothing shows them but the broker's records.
func (s *service) addUnchecked(launched []launch.Record) {
	for _, r := range launched {
		same := func(i instance) bool { return i.Instance == r.Instance }
		if s.Ports == nil || r.Namespace != uint64(directory.Root) || r.Name != s.Name || r.Version != s.Version || slices.ContainsFunc(s.Instances, same) {
			continue
		}
		s.Instances = append(s.Instances, instance{
			r.PID, switchboard.Starting.String(), r.Scope, timestamp(time.UnixMilli(r.Since)), r.Instance, strings.Join(r.Argv, " "),
		})
	}
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
