// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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
			if filepath.IsAbs(r.Socket) {
				b.folder.unlink(r.Socket, r.Socket+asideSuffix, handoffPath(r.Socket))
			}
			continue
		}
		b.adopt(r, process, def)
	}
}

// rightSocket puts right what a crash between a rename of a backend's socket and its record left.
func (b *Broker) rightSocket(r *launch.Record, def directory.Definition) {
	if r.Socket == "" {
		return
	}
	path := ownPath(directory.Key{Namespace: directory.Root, Name: r.Name, Version: r.Version, Scope: r.Scope}, def, r.Instance, r.Socket)
	aside := asidePath(path, r.Instance)
	there := func(p string) bool {
		_, err := os.Lstat(b.folder.at(p))
		return err == nil
	}
	switch {
	case r.Retired && !there(r.Socket) && there(path):
		r.Socket, r.Retired = path, false
	case !r.Retired && !there(path) && there(aside):
		if err := os.Rename(b.folder.at(aside), b.folder.at(path)); err != nil {
			b.log.Error("cannot bring a socket back", "name", r.Name, "err", err)
		}
	}
}

func (b *Broker) adopt(r launch.Record, process *launch.Process, def directory.Definition) {
	b.rightSocket(&r, def)
	starting := false
	if def.Probed && !r.Retired {
		starting = true
	} else if def.Accept == directory.Path && !r.Retired {
		listening, err := sys.ListeningAt(b.folder.at(r.Socket))
		starting = err == nil && !listening
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	be := &backend{
		key:        directory.Key{Namespace: directory.Root, Name: r.Name, Version: r.Version, Scope: r.Scope},
		definition: def, instance: r.Instance, path: r.Socket, listens: !starting, process: process, record: r,
		hidden: r.Retired, retired: r.Retired, adopted: true,
	}
	if path := b.folder.at(r.Log); filepath.IsLocal(r.Log) {
		if info, err := os.Stat(path); err == nil {
			be.log, be.logFrom = &launch.Log{Path: path}, info.Size()
		}
	}
	age := max(0, time.Now().UnixMilli()-r.Since) * 1e6
	exe := r.Exe
	if len(r.Argv) > 0 {
		exe = r.Argv[0] // as when it was launched
	}
	for _, a := range b.directory.Apply(directory.Adopt{
		Name: r.Name, Definition: def, Owner: directory.Peer{PID: r.PID, UID: b.uid, Exe: exe}, Path: r.Socket,
		Since: r.Since, Begun: b.now() - age, Retired: r.Retired, Starting: starting, Now: b.now(),
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
	switch {
	case def.Probed && !r.Retired: // it is verified again
		if _, err := os.Lstat(be.path + asideSuffix); err == nil {
			be.aside = be.path + asideSuffix // it had not adopted its listener yet
		}
		b.tasks.Go(func() { b.awaitProbed(be) })
	case starting:
		b.probing = append(b.probing, be)
		b.rebindNotify(be)
	}
	b.linkNewest(r.Name)
	b.log.Info("backend found again", "name", r.Name, "version", r.Version, "pid", r.PID)
}

// sweepSockets removes the sockets in the folder of instances that a broker which crashed left and nobody listens on.
func (b *Broker) sweepSockets() {
	dir := b.folder.at(instanceFolder)
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.log.Warn("cannot look for sockets that were left", "err", err)
		return
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.Type()&fs.ModeSocket == 0 || strings.HasSuffix(e.Name(), ".notify") || b.isOf(filepath.Join(instanceFolder, e.Name())) {
			continue
		}
		if listening, err := sys.ListeningAt(path); err == nil && !listening {
			os.Remove(path)
		}
	}
}

// isOf reports whether a path is that of a backend that was found again.
func (b *Broker) isOf(path string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, be := range b.backends {
		if be.path == path {
			return true
		}
	}
	return false
}
