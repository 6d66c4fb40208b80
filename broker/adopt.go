// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"encoding/json"
	"path/filepath"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/launch"
)

// adoptAll finds the backends that an earlier broker left behind, by what it recorded and the kernel confirms. What is left of others
// is ended.
func (b *Broker) adoptAll() {
	records, errs := launch.ReadRecords(b.folder.at(instanceFolder))
	for _, err := range errs {
		b.log.Warn("cannot read a backend's record", "err", err)
	}
	if b.launcher == nil {
		return
	}
	for _, r := range records {
		process, err := b.launcher.Find(r)
		var def directory.Definition
		if err == nil {
			err = json.Unmarshal(r.Definition, &def)
		}
		if err != nil {
			b.log.Info("a recorded backend is gone", "name", r.Name, "pid", r.PID, "err", err)
			if left := b.launcher.Remains(r); left != nil {
				b.tasks.Go(func() { _ = left.KillTree(); left.Close() })
			}
			_ = launch.RemoveRecord(b.folder.at(instanceFolder), r.Instance)
			continue
		}
		b.adopt(r, process, def)
	}
}

func (b *Broker) adopt(r launch.Record, process *launch.Process, def directory.Definition) {
	b.mu.Lock()
	defer b.mu.Unlock()
	be := &backend{
		key:        directory.Key{Namespace: directory.Root, Name: r.Name, Version: r.Version, Scope: r.Scope},
		definition: def, instance: r.Instance, path: r.Socket, listens: true, process: process, record: r,
		hidden: filepath.Ext(r.Socket) == ".old",
	}
	for _, a := range b.directory.Apply(directory.Adopt{
		Name: r.Name, Definition: def, Owner: directory.Peer{PID: r.PID, UID: b.uid, Exe: r.Exe}, Path: r.Socket,
		Since: time.Now().UnixMilli(), Now: b.now(),
	}) {
		if a, ok := a.(directory.Adopted); ok {
			be.id = a.Backend
			b.backends[be.id], b.instances[be.instance] = be, be.id
			if err := b.watchBackend(be); err != nil {
				b.log.Error("cannot watch a backend", "name", r.Name, "err", err)
			}
			continue
		}
		b.act(a)
	}
	b.linkNewest(r.Name)
	b.log.Info("backend found again", "name", r.Name, "version", r.Version, "pid", r.PID)
}
