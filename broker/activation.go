// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"path/filepath"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/servedef"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// bindActivation binds the sockets of all services that are launched by a connection, and declares the ports of those that are launched
// for them.
func (b *Broker) bindActivation() {
	if b.launcher == nil {
		return
	}
	wanted, defined := make(map[directory.Key]bool), make(map[string]bool)
	all := b.catalogue.All()
	services := b.machDefinitions(all)
	for _, e := range all {
		defined[e.Name] = true
		def := convert(e)
		if e.Err != nil || def.Accept != directory.Listener || e.Definition.Scoped {
			continue
		}
		wanted[directory.Key{Namespace: directory.Root, Name: e.Definition.Name, Version: def.Version}] = true
	}
	files, err := servedef.List(b.servedefs)
	if err != nil {
		b.log.Warn("cannot look for definitions of running-process", "err", err)
	}
	for _, f := range files {
		defined[f.Service] = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.defined = defined
	if b.ending != "" {
		return
	}
	for key := range wanted {
		if b.accepting(key) {
			continue // it has its socket; one that was found again has it for itself
		}
		if s, err := b.bindSocket(key); err != nil {
			b.log.Error("cannot listen for a service", "name", key.Name, "err", err)
		} else if !b.busy(key) {
			b.watchSocket(s, true)
		}
	}
	for key, s := range b.sockets {
		if s.watched && !wanted[key] && !b.accepting(key) { // its definition is gone
			b.flush(key)
			b.closeSocket(s)
		}
	}
	b.declarePorts(services)
}

// watchDefinitions has the loop tell when definitions change, so that what they define can be called by its path at once. Without (a user's
// inotify instances are few) it is found by the first DIAL.
func (b *Broker) watchDefinitions() {
	if b.launcher == nil {
		return
	}
	fd, err := sys.NewWatch()
	if err == nil {
		b.definitionWatch = fd
		err = b.watch(&descriptor{id: b.table.id(), kind: definitionWatch, fd: fd})
	}
	if err != nil {
		b.log.Warn("changed definitions are seen only when their name is called", "err", err)
		return
	}
	b.watchFolders()
}

// watchFolders watches the folders of definitions, and of one that does not exist what it would appear in.
func (b *Broker) watchFolders() {
	for _, folder := range b.catalogue.folders {
		for last := ""; last != folder; {
			path := folder
			for path != "/" && sys.WatchEntries(b.definitionWatch.Int(), path) != nil {
				path = filepath.Dir(path)
			}
			if path == last || path == "/" {
				break // else the next one may have appeared before this was watched
			}
			last = path
		}
	}
}

// definitionsChanged notes that the sockets are to be bound anew, after the moment in which several files may change.
func (b *Broker) definitionsChanged() {
	sys.DrainWatch(b.definitionWatch.Int())
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rescanAt == never {
		b.rescanAt = b.now() + int64(rescanAfter)
	}
}

// rescan reads the definitions again if they changed.
func (b *Broker) rescan(now int64) {
	b.mu.Lock()
	due := b.rescanAt <= now
	if due {
		b.rescanAt = never
	}
	b.mu.Unlock()
	if !due {
		return
	}
	b.tasks.Go(func() {
		b.watchFolders()
		b.bindActivation()
	})
}

const rescanAfter = 20 * time.Millisecond

// knock has a service launched because somebody connected to its socket, which is not watched until that is decided.
func (b *Broker) knock(s *socket) {
	b.mu.Lock()
	b.watchSocket(s, false)
	b.mu.Unlock()
	b.tasks.Go(func() {
		b.launchFor(s)
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.sockets[s.key] == s && !b.busy(s.key) && b.ending == "" {
			b.watchSocket(s, true) // those who had connected were sent away
		}
	})
}

func (b *Broker) launchFor(s *socket) {
	for _, e := range b.catalogue.Named(s.key.Name) {
		if def := convert(e); def.Version == s.key.Version && !e.Definition.Scoped {
			b.apply(directory.Knock{Key: s.key, Definition: def, Now: b.now()})
			return
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flush(s.key) // its definition is gone
	b.closeSocket(s)
}
