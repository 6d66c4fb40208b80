// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/admin"
	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/internal/unixconn"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// answerAdmin answers a request for administration (section 7), beside the loop: what it tells is counted, and may be long. The loop's.
func (b *Broker) answerAdmin(c *caller) {
	req, ok := envelope.CheckAdmin(c.call.frame)
	if !ok || c.namespace != directory.Root { // no reply, as the original's; and who is in a namespace has no say
		discard(c)
		b.forgetCaller(c)
		return
	}
	b.beside(c, func() {
		reply := admin.Reply(req, b.adminSnapshot())
		b.sendAll(c, c.call.frame.Administer(reply))
		b.mu.Lock()
		b.closeCaller(c)
		b.mu.Unlock()
		if req.Verb == envelope.VerbShutdown {
			b.end("a client of running-process asked for it")
		}
	})
}

// adminTimeout is for a reply that its reader is slow to take.
const adminTimeout = 5 * time.Second

// sendAll sends what may be more than a socket takes at once.
func (b *Broker) sendAll(c *caller, f envelope.Frame) {
	data := f.AppendFramed(nil)
	n, err := sys.Send(c.fd.Int(), data)
	if err == nil && n == len(data) {
		discard(c)
		return
	}
	if err != nil && !isAgain(err) {
		return
	}
	dup, err := sys.Dup(c.fd.Int())
	if err != nil {
		return
	}
	conn, err := unixconn.Of(dup)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(adminTimeout))
	_, _ = conn.Write(data[max(n, 0):])
}

// adminSnapshot is what is true now.
func (b *Broker) adminSnapshot() admin.Snapshot {
	b.compareConnections()
	open, limit := openDescriptors(), uint64(b.maxFD+reserve)
	inodes := inodesOf(b.folder.path)
	counters := b.metrics.Read()
	b.mu.Lock()
	defer b.mu.Unlock()
	now, wall := b.now(), time.Now().UnixMilli()
	s := admin.Snapshot{
		GeneratedUnixMS: uint64(wall), Instance: "shared", PID: uint32(os.Getpid()), Uptime: time.Since(b.started),
		Accepting: b.ending == "", Demoted: b.demoted.Load(), ConnectionsOpen: uint64(max(0, b.connections.Load())),
		FDs: admin.FDUsage{Open: open, Limit: limit}, Inodes: inodes, Counters: counters, Events: slices.Clone(b.lifecycle.events),
		Settings: []admin.Setting{
			{Group: "paths", Key: "service_definition_dir", Value: b.servedefs, Source: "platform-default"},
			{Group: "paths", Key: "runtime_dir", Value: b.folder.path, Source: "runtime"},
		},
	}
	s.Ready = s.Accepting && !s.Demoted
	for _, path := range slices.Sorted(maps.Keys(b.addresses)) {
		s.Instances = append(s.Instances, admin.Instance{Name: instanceAt(path), Pipe: path, Accepting: s.Accepting})
		s.Instance, s.Pipe = s.Instances[0].Name, s.Instances[0].Pipe
	}
	for _, be := range b.backends {
		e := admin.Backend{
			Service: be.key.Name, Version: be.key.Version, State: admin.Starting, LastHelloUnixMS: uint64(be.helloAt),
			LastActiveUnixMS: uint64(be.helloAt),
		}
		if be.path != "" {
			e.Pipe = b.absolute(be.path)
		}
		if be.process != nil {
			e.PID = uint32(be.process.PID)
			e.LastActiveUnixMS = uint64(max(be.record.Since, be.helloAt)) // the record is the launch's until there is a process
		}
		if entry, ok := b.directory.Entry(be.id); ok && entry.State == directory.Active || be.listens || be.retired {
			e.State = admin.Running
		}
		e.LastError = b.directory.Retry(be.key, now).Reason
		s.Backends = append(s.Backends, e)
	}
	b.directory.Budgets(now, func(key directory.Key, used, left int, until int64, starting bool) {
		s.Budgets = append(s.Budgets, admin.Budget{
			Instance: s.Instance, Service: key.Name, Version: key.Version, Used: uint32(used), Remaining: uint32(left),
			InFlight: starting, WindowEndUnixMS: uint64(max(0, wall+(until-now)/1e6)),
		})
	})
	slices.SortFunc(s.Backends, func(a, b admin.Backend) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Version, b.Version), cmp.Compare(a.PID, b.PID))
	})
	return s
}

// instanceAt is the instance that the original has at an address, by its name.
func instanceAt(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), ".sock")
	if _, service, ok := strings.Cut(name, "-svc-"); ok {
		return "private:" + service
	}
	if _, instance, ok := strings.Cut(name, "-inst-"); ok {
		return "explicit:" + instance
	}
	return "shared"
}

func openDescriptors() uint64 {
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	return uint64(max(0, len(names)-1)) // without this one
}

// inodesOf is the inode table of a folder's file system.
func inodesOf(path string) admin.Inodes {
	total, free, err := sys.Inodes(path)
	if err != nil {
		return admin.Inodes{Detail: err.Error()}
	}
	return admin.Inodes{Supported: total > 0, Total: total, Free: free}
}
