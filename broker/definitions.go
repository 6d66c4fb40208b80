// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/definition"
	"github.com/switchboard-ipc/switchboard/internal/directory"
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
func (b *Broker) definitions(name, scope string, pid int) ([]directory.Definition, string) {
	entries := b.catalogue.Named(name)
	if len(entries) == 0 {
		return nil, scope
	}
	var all []directory.Definition
	for _, e := range entries {
		def := convert(e)
		if e.Definition.Scoped {
			folder := scope
			if folder == "" {
				folder = workingFolder(pid)
			}
			if folder == "" {
				def.Broken = "it runs once for each project folder, and yours cannot be told: name one with scope=/path"
			} else {
				def.Scope = definition.Project(folder, e.Definition.Markers)
				scope = def.Scope
			}
		}
		all = append(all, def)
	}
	return all, scope
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
		Version: d.Version, Summary: strings.Join(d.Exec, " "), Accept: accepts[d.Accept], Notify: d.Notify,
		Start: int64(d.StartTimeout), Stop: int64(d.StopTimeout), Idle: int64(d.IdleStop),
		RetryMin: int64(d.RestartMin), RetryMax: int64(d.RestartMax),
		Run: directory.Command{Argv: d.Exec, Env: d.Env, PassEnv: d.PassEnv, Dir: d.Dir, User: d.User},
	}
}

var accepts = map[definition.Accept]directory.Accept{
	definition.Listener: directory.Listener, definition.Connection: directory.Connection,
	definition.Path: directory.Path, definition.Native: directory.HandedOver,
}

// definitionsKept is for how long a name that has an owner is taken to have no definition after it was seen to have none. One that is
// written meanwhile counts for callers a moment later; they are served either way.
const definitionsKept = 100 * time.Millisecond

// callable is definitions for a caller. The loop's.
func (b *Broker) callable(c *caller, req dial.Request) ([]directory.Definition, string) {
	now := b.now()
	if now >= b.undefinedAt+int64(definitionsKept) {
		clear(b.undefined)
		b.undefinedAt = now
	}
	_, undefined := b.undefined[req.Name]
	owned := b.index.find(c.namespace, []byte(req.Name)) != nil
	if undefined && owned {
		return nil, req.Scope
	}
	definitions, scope := b.definitions(req.Name, req.Scope, c.peer.PID)
	if len(definitions) == 0 && owned {
		if b.undefined == nil {
			b.undefined = make(map[string]struct{})
		}
		b.undefined[req.Name] = struct{}{}
	}
	return definitions, scope
}
