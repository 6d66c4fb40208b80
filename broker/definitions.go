// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/definition"
	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/project"
	"github.com/switchboard-ipc/switchboard/protocol/dial"
)

// catalogue is what files say can be launched.
type catalogue struct {
	*definition.Catalogue
	folders []string
}

func newCatalogue(extra []string, uid int) *catalogue {
	folders := definition.Folders(extra, os.Getenv)
	return &catalogue{definition.NewCatalogue(folders, uid), folders}
}

func (c *catalogue) has(name string) bool { return len(c.Named(name)) > 0 }

// definitions returns what files have of a name, for a caller. One who names no folder is in that of its working folder, where that
// makes a difference. It reads files: not for holders of the lock.
func (b *Broker) definitions(name, constraint, scope string, pid int) ([]directory.Definition, string) {
	if all := b.probedDefinitions(name, constraint); len(all) > 0 {
		return all, scope
	}
	entries := b.named(name)
	if len(entries) == 0 {
		return nil, scope
	}
	var all []directory.Definition
	for _, e := range entries {
		def := convert(e)
		if e.Definition.Scoped {
			if scope == "" {
				scope = workingFolder(pid)
			}
			if scope == "" {
				def.Broken = "it runs once for each project folder, and yours cannot be told: name one with scope=/path"
			} else {
				def.Scope = project.Folder(scope, e.Definition.Markers)
			}
		}
		all = append(all, def)
	}
	return all, scope
}

// named returns the definitions of a name. One with a port that is another's does not count. It reads files: not for holders of the lock.
func (b *Broker) named(name string) []definition.Entry {
	entries := b.catalogue.Named(name)
	if !slices.ContainsFunc(entries, func(e definition.Entry) bool { return e.Err == nil && e.Definition.Accept == definition.Mach }) {
		return entries
	}
	faults := definition.PortFaults(b.catalogue.All())
	for i, e := range entries {
		if fault := faults[e.Path]; fault != nil {
			entries[i].Definition, entries[i].Err = definition.Definition{}, fault
		}
	}
	return entries
}

func workingFolder(pid int) string {
	dir, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
	if err != nil || !strings.HasPrefix(dir, "/") || strings.HasSuffix(dir, " (deleted)") {
		return ""
	}
	return dir
}

// convert makes of a definition what the directory keeps.
func convert(e definition.Entry) directory.Definition {
	if e.Err != nil {
		return directory.Definition{Version: e.File.Version, Source: e.Path, Summary: "nothing: " + e.Err.Error(), Broken: e.Err.Error()}
	}
	def := plain(e.Definition)
	def.Source = e.Path
	return def
}

func plain(d definition.Definition) directory.Definition {
	return directory.Definition{
		Version: d.Version, Summary: strings.Join(d.Exec, " "), Accept: accepts[d.Accept], Notify: d.Notify, Ports: d.Ports,
		Start: int64(d.StartTimeout), Stop: int64(d.StopTimeout), Idle: int64(d.IdleStop),
		RetryMin: int64(d.RestartMin), RetryMax: int64(d.RestartMax),
		Run: directory.Command{Argv: d.Exec, Env: d.Env, PassEnv: d.PassEnv, Dir: d.Dir, User: d.User},
	}
}

var accepts = map[definition.Accept]directory.Accept{
	definition.Listener: directory.Listener, definition.Connection: directory.Connection,
	definition.Path: directory.Path, definition.Native: directory.HandedOver, definition.Mach: directory.Ports,
}

// undefinedNames remembers which names with an owner have no definition, so that calling those reads no file. What is remembered is
// looked at again, beside the calls, when it is older than undefinedFor: a definition that is written for such a name counts a moment
// later, and its callers are served either way.
type undefinedNames struct {
	mu       sync.Mutex
	seen     map[string]int64 // when
	checking bool
}

const (
	undefinedFor = 100 * time.Millisecond
	undefinedMax = 4096
)

// recall reports whether a name is known to have no definition, and whether that should be looked at again, by one caller of recall only.
func (u *undefinedNames) recall(name string, now int64) (undefined, again bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	at, undefined := u.seen[name]
	if undefined && now > at+int64(undefinedFor) && !u.checking {
		u.checking, again = true, true
	}
	return undefined, again
}

// note remembers what was found.
func (u *undefinedNames) note(name string, defined, checked bool, now int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if checked {
		u.checking = false
	}
	switch {
	case defined:
		delete(u.seen, name)
	case u.seen == nil || len(u.seen) >= undefinedMax:
		u.seen = map[string]int64{name: now}
	default:
		u.seen[name] = now
	}
}

// find goes on with a caller: at once if its name has an owner and no definition, else when its definitions were read, which may take as long
// as a file system likes. The loop's.
func (b *Broker) find(c *caller, req dial.Request) {
	if b.index.find(c.namespace, []byte(req.Name)) != nil {
		if undefined, again := b.undefined.recall(req.Name, b.now()); undefined {
			if again {
				b.tasks.Go(func() { b.undefined.note(req.Name, b.isDefined(req.Name, ""), true, b.now()) })
			}
			b.place(c, req, nil, req.Scope)
			return
		}
	}
	if b.crowded() {
		b.refuseCaller(c, directory.Refusal{Reason: directory.LimitHit, Text: "the definitions of many callers are being read: a file system is slow or hangs, try again later"})
		return
	}
	b.beside(c, func() {
		definitions, scope := b.definitions(req.Name, req.Version, req.Scope, c.peer.PID)
		if len(definitions) == 0 && b.index.find(c.namespace, []byte(req.Name)) != nil {
			b.undefined.note(req.Name, false, false, b.now())
		}
		b.place(c, req, definitions, scope)
	})
}
