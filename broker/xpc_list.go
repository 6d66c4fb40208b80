// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/name"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// job is what has ports in a namespace, or was launched in it.
type job struct {
	pid   int      // 0: no process
	names []string // of its ports
}

// jobs returns the jobs of a namespace by their labels. That is the service's name of what the broker launches, the program and process of
// whoever else owns a port, and the port's own name if nobody does. The lock is held.
func (b *Broker) jobs(ns directory.ID) map[string]*job {
	all := make(map[string]*job)
	of := func(label string) *job {
		label = cleanLabel(label)
		if all[label] == nil {
			all[label] = new(job)
		}
		return all[label]
	}
	backends := slices.SortedFunc(maps.Values(b.backends), func(x, y *backend) int { return cmp.Compare(x.id, y.id) })
	for _, be := range backends {
		if be.key.Namespace != ns || be.process == nil {
			continue
		}
		j := of(be.key.Name)
		if j.pid != 0 { // another version, say
			j = of(processLabel(be.key.Name, be.process.PID))
		}
		j.pid = be.process.PID
	}
	ports := b.index.portsOf(ns)
	slices.SortFunc(ports, func(x, y *record) int { return cmp.Compare(x.name, y.name) })
	for _, r := range ports {
		e, ok := b.directory.Entry(r.port.lease)
		if !ok {
			continue
		}
		var j *job
		switch be := b.backends[e.Backend]; {
		case e.Service.Name != "":
			j = of(e.Service.Name)
		case be != nil:
			j = of(be.key.Name)
		case e.Owner.PID != 0:
			j = of(processLabel(base(e.Owner.Exe), e.Owner.PID))
		default:
			j = of(e.Name)
		}
		j.names = append(j.names, r.name)
		if j.pid == 0 {
			j.pid = e.Owner.PID
		}
	}
	return all
}

// cleanLabel makes a text one that a dictionary can have as a key.
func cleanLabel(label string) string {
	return strings.ToValidUTF8(label[:min(len(label), xpc.MaxKey)], "")
}

func processLabel(program string, pid int) string {
	return fmt.Sprintf("%s.%d", cmp.Or(program, "process"), pid)
}

// getJobs lists the jobs of the session's namespace with their ports.
func (c *machCall) getJobs() {
	all := c.jobs()
	if all == nil {
		return
	}
	var a xpc.Answer
	for _, label := range slices.Sorted(maps.Keys(all)) {
		a.Jobs = append(a.Jobs, xpc.Job{Label: label, Services: all[label].names})
	}
	c.list(a)
}

// listJobs lists the jobs of the session's namespace with their processes.
func (c *machCall) listJobs() {
	all := c.jobs()
	if all == nil {
		return
	}
	var a xpc.Answer
	for _, label := range slices.Sorted(maps.Keys(all)) {
		a.Services = append(a.Services, xpc.Listed{Label: label, PID: int64(all[label].pid)})
	}
	c.list(a)
}

// jobs returns those of the session's namespace, or nil: the request was refused.
func (c *machCall) jobs() map[string]*job {
	if c.unreadLists() {
		return nil
	}
	b := c.b()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.jobs(c.s.namespace)
}

// listBuffer is the send buffer for a list, which must fit in it at once.
const listBuffer = 2 * xpc.MaxPayload

// list sends a reply that may be longer than what a client may otherwise leave unread: it has read all others.
func (c *machCall) list(a xpc.Answer) {
	if c.req.Token == 0 {
		c.donePipe(xpc.OK)
		return
	}
	packet, err := c.appendPipe(nil, a)
	if err == nil {
		if c.conn != nil && len(packet) > unreadReplies {
			_ = sys.SetSendBuffer(c.conn.fd, listBuffer)
			defer func() { _ = sys.SetSendBuffer(c.conn.fd, unreadReplies) }()
		}
		err = c.send(packet)
	}
	if err != nil {
		c.refuse(mach.NoMemory, "there is more than fits in one message: "+err.Error())
		return
	}
	c.donePipe(xpc.OK)
}

// attributes tells which job, process and service has the name of the request; without a name, what its process is: by default the caller.
func (c *machCall) attributes() {
	b := c.b()
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.req.Service != "" {
		var room [2 * name.Max]byte
		r := c.find(room[:0], c.req.Service)
		if r == nil {
			return
		}
		e, _ := b.directory.Entry(r.port.lease)
		c.list(xpc.Answer{Attributes: xpc.ServiceInfo{BundleID: cleanLabel(cmp.Or(r.job, e.Name)), PID: int64(e.Owner.PID), Name: e.Name}})
		return
	}
	pid := cmp.Or(c.pipe.PID, int64(c.s.peer.PID))
	all := b.jobs(c.s.namespace)
	for _, label := range slices.Sorted(maps.Keys(all)) {
		if int64(all[label].pid) == pid {
			c.list(xpc.Answer{Attributes: xpc.ServiceInfo{BundleID: label, PID: pid, Name: label}})
			return
		}
	}
	if pid != int64(c.s.peer.PID) {
		c.refuse(mach.UnknownService, "the process has no port in this namespace, and was not launched in it")
		return
	}
	label := cleanLabel(processLabel(base(c.s.program), c.s.peer.PID))
	c.list(xpc.Answer{Attributes: xpc.ServiceInfo{BundleID: label, PID: pid, Name: label}})
}
