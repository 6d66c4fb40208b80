// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/launch"
	"github.com/switchboard-ipc/switchboard/internal/sys"
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
		if err == nil && r.Namespace != uint64(directory.Root) {
			err = errors.New("its namespace ended with the last broker")
		}
		if err != nil {
			b.log.Info("a recorded backend is gone", "name", r.Name, "pid", r.PID, "err", err)
			if process == nil {
				process = b.launcher.Remains(r)
			}
			if process != nil {
				b.tasks.Go(func() { _ = process.KillTree(); process.Close() })
			}
			_ = launch.RemoveRecord(b.folder.at(instanceFolder), r.Instance)
			continue
		}
		b.adopt(r, process, def)
	}
}

func (b *Broker) adopt(r launch.Record, process *launch.Process, def directory.Definition) {
	starting := false
	if def.Accept == directory.Path && !r.Retired {
		listening, err := sys.ListeningAt(b.folder.at(r.Socket))
		starting = err == nil && !listening
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	be := &backend{
		key:        directory.Key{Namespace: directory.Root, Name: r.Name, Version: r.Version, Scope: r.Scope},
		definition: def, instance: r.Instance, path: r.Socket, listens: !starting, process: process, record: r,
		hidden: r.Retired,
	}
	if info, err := os.Stat(r.Log); err == nil {
		be.log, be.logFrom = &launch.Log{Path: r.Log}, info.Size()
	}
	for _, a := range b.directory.Apply(directory.Adopt{
		Name: r.Name, Definition: def, Owner: directory.Peer{PID: r.PID, UID: b.uid, Exe: r.Exe}, Path: r.Socket,
		Since: time.Now().UnixMilli(), Retired: r.Retired, Starting: starting, Now: b.now(),
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
	if starting {
		b.probing = append(b.probing, be)
	}
	b.linkNewest(r.Name)
	b.log.Info("backend found again", "name", r.Name, "version", r.Version, "pid", r.PID)
}
