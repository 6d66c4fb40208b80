// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// CheckDescriptors returns the first contradiction between the directory, the table, and the descriptors that the process has; nil: there is
// none. What is being worked on while it looks may look like one: ask again. The process must be the broker's alone.
func (b *Broker) CheckDescriptors() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.directory.Check(); err != nil {
		return err
	}
	open, err := descriptorsOpen()
	if err != nil {
		return err
	}
	known := make(map[int]directory.ID)
	for id, d := range b.table.entries {
		if id != d.id {
			return fmt.Errorf("descriptor %d is in the table under %d", d.id, id)
		}
		n := d.number()
		if _, ok := open[n]; !ok {
			return fmt.Errorf("descriptor %d of kind %d has number %d, which is not open", id, d.kind, n)
		}
		if other, ok := known[n]; ok && (d.right == nil || b.table.entries[other].right != d.right) {
			return fmt.Errorf("descriptors %d and %d have one number, %d", id, other, n)
		}
		known[n] = id
		if err := b.checkDescriptor(d); err != nil {
			return err
		}
	}
	for id, s := range b.subsets {
		if id != s.namespace || b.directory.NamespacePath(id) == "" || s.watch == nil {
			return fmt.Errorf("subset %d is no namespace, or not watched", id)
		}
	}
	for id, p := range b.ports {
		if err := b.checkPort(id, p); err != nil {
			return err
		}
	}
	for _, n := range b.directory.Export().Names {
		if n.Port && b.ports[n.Entry.Lease] == nil {
			return fmt.Errorf("port %d (%s) has no descriptors", n.Entry.Lease, n.Entry.Name)
		}
	}
	for n, what := range open {
		if _, ok := known[n]; !ok && n > 2 && (strings.HasPrefix(what, "socket:") || strings.Contains(what, "pidfd") || strings.Contains(what, "memfd")) {
			return fmt.Errorf("number %d (%s) is open and not in the table", n, what)
		}
	}
	return nil
}

func (d *descriptor) number() int {
	switch {
	case d.kind == sessionConn:
		return d.session.fd
	case d.kind == controlConnKind:
		return d.control.fd
	}
	return d.fd.Int()
}

func (b *Broker) checkDescriptor(d *descriptor) error {
	switch d.kind {
	case portSend:
		if b.ports[d.id] != d.port || d.port.send != d.right {
			return fmt.Errorf("send end %d is of no port", d.id)
		}
	case portReceive:
		if p := b.ports[d.port.lease]; p != d.port || p.receiveID != d.id || p.receive != d.right {
			return fmt.Errorf("receive end %d is of no port", d.id)
		}
	case controlConnKind:
		if _, ok := b.directory.SessionNamespace(d.id); !ok && !d.control.lost {
			return fmt.Errorf("control connection %d has no session", d.id)
		}
	case controlWatch:
		if b.table.entries[d.control.id] == nil {
			return fmt.Errorf("pidfd %d is of no control connection", d.id)
		}
	case bootstrapUserWatch:
		if d.boot.users[d.user.process] != d.user {
			return fmt.Errorf("pidfd %d is of no process on a bootstrap port", d.id)
		}
	case watchedRight:
		if w := d.watch; w.id != d.id || w.right != d.right || b.rights[w.cookie] != w || len(w.all) == 0 {
			return fmt.Errorf("right %d is watched for nobody", d.id)
		}
		for i, who := range d.watch.all {
			if *who.place() != (concern{d.watch, i}) {
				return fmt.Errorf("right %d is watched for somebody at another place than %d", d.id, i)
			}
		}
	case notifyWatch:
		if d.notice.to != d.id && d.notice.right != d.id {
			return fmt.Errorf("right %d is of no request to be told", d.id)
		}
	}
	return nil
}

func (b *Broker) checkPort(id directory.ID, p *port) error {
	e, ok := b.directory.Entry(id)
	switch {
	case !ok || e.Kind != directory.Port || e.Name != p.name || e.Namespace != p.namespace:
		return fmt.Errorf("port %d (%s) is not in the directory", id, p.name)
	case b.table.entries[id] == nil:
		return fmt.Errorf("port %d (%s) has no send end", id, p.name)
	case (p.watch == nil) != e.Declared:
		return fmt.Errorf("port %d (%s) is declared: %t, and its death is watched: %t", id, p.name, e.Declared, p.watch != nil)
	case e.Declared != (p.receive != nil):
		return fmt.Errorf("port %d (%s) is declared: %t, and its receive end is here: %t", id, p.name, e.Declared, p.receive != nil)
	case p.receive != nil && b.table.entries[p.receiveID] == nil:
		return fmt.Errorf("port %d (%s) has no receive end in the table", id, p.name)
	case b.index.find(p.namespace, []byte(p.name)) == nil:
		return fmt.Errorf("port %d (%s) is not published", id, p.name)
	}
	return nil
}

// descriptorsOpen returns what this process has open, by number.
func descriptorsOpen() (map[int]string, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	open := make(map[int]string)
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			return nil, err
		}
		if what, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			open[n] = what
		}
	}
	return open, nil
}

// TakeOut is takeOut.
func TakeOut(receive, send int, pick func(head []byte) bool, taken func(packet []byte, fds []int)) (lost int, mixed bool, err error) {
	return takeOut(receive, send, pick, taken)
}
