// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/switchboard-ipc/switchboard/internal/keyline"
	"github.com/switchboard-ipc/switchboard/internal/name"
)

// Why a key does not go with accept = "mach", with the key to be filled in.
const (
	forEverybody = `%s does not go with accept = "mach", where the ports are for everybody: leave it out`
	notCounted   = `%s does not go with accept = "mach", since who sends to a port cannot be counted: leave it out`
	readyAtOnce  = `%s does not go with accept = "mach", where a process that runs is ready: leave it out`
	onlyMach     = `%s goes with accept = "mach" only: add that, or leave %[1]s out`
)

// completePorts fills in what a text without ports means, and refuses keys that the text has and that do not go with accept.
func (d *Definition) completePorts(given []string) *fault {
	rules := []struct{ key, why string }{{"ports", onlyMach}, {"launch", onlyMach}}
	if d.Accept == Mach {
		rules = []struct{ key, why string }{{"version", forEverybody}, {"scope", forEverybody}, {"idle_stop", notCounted}, {"ready", readyAtOnce}}
		d.IdleStop = 0
		if !slices.Contains(given, "ports") {
			d.Ports = []string{d.Name}
		}
	}
	for _, r := range rules {
		if slices.Contains(given, r.key) {
			return faultf(r.key, r.why, r.key)
		}
	}
	return nil
}

func checkPorts(d Definition) *fault {
	mach := d.Accept == Mach
	for _, r := range []struct {
		broken   bool
		key, why string
	}{
		{!mach && len(d.Ports) > 0, "ports", onlyMach},
		{!mach && d.OnMessage, "launch", onlyMach},
		{mach && d.Version != "", "version", forEverybody},
		{mach && d.Scoped, "scope", forEverybody},
		{mach && d.IdleStop != 0, "idle_stop", notCounted},
		{mach && d.Notify, "ready", readyAtOnce},
	} {
		if r.broken {
			return faultf(r.key, r.why, r.key)
		}
	}
	if mach && len(d.Ports) == 0 {
		return &fault{"ports", "ports is empty: name at least one port, or leave it out for one with the name of the service"}
	}
	for i, port := range d.Ports {
		at := keyline.Element("ports", i)
		if err := name.Check(port); err != nil {
			return faultf(at, "ports has no name at place %d: %v", i+1, err)
		}
		if perProcess(port) {
			return faultf(at, "ports has %q, which is the form of a name for one process: choose one that does not end with ~ and digits", keyline.Clip(port))
		}
		if slices.Contains(d.Ports[:i], port) {
			return faultf(at, "ports has %q twice: keep one", keyline.Clip(port))
		}
	}
	return nil
}

// perProcess reports whether a name has the form NAME~PID, which the bootstrap front has for ports of one process (docs/mach.md).
func perProcess(name string) bool {
	base := strings.TrimRight(name, "0123456789")
	return base != name && strings.HasSuffix(base, "~")
}

// PortFaults returns the definitions among entries with a port that one before them has, or that is the name of another service, by
// their paths. Those do not count, none of their ports. It reads the files at fault again, for the line.
func PortFaults(entries []Entry) map[string]*Error {
	faults := make(map[string]*Error)
	owners := make(map[string]string) // of ports, and of services without: the file
	for _, e := range entries {
		if e.Err == nil && e.Definition.Accept != Mach {
			owners[e.Definition.Name] = e.Path
		}
	}
	for _, e := range entries {
		if e.Err != nil || e.Definition.Accept != Mach {
			continue
		}
		taken := slices.IndexFunc(e.Definition.Ports, func(port string) bool { return owners[port] != "" })
		if taken < 0 {
			for _, port := range e.Definition.Ports {
				owners[port] = e.Path
			}
			continue
		}
		port := e.Definition.Ports[taken]
		fault := &Error{File: e.Path, Reason: fmt.Sprintf("ports has %q, which %s has already: keep it in one of them", keyline.Clip(port), owners[port])}
		if data, err := os.ReadFile(e.Path); err == nil {
			fault.Line = keyline.OfTOML(data).Line(keyline.Element("ports", taken))
		}
		faults[e.Path] = fault
	}
	return faults
}
