// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"cmp"
	"slices"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// unreadInfo is how much a client may leave unread, in bytes as the kernel counts them, and yet be answered by another list: the memory of
// each is the broker's until then.
const unreadInfo = 4 << 10

// info lists the ports of the session's namespace, those of one process left out: names, who has them, and states. It reads the index, as
// look-ups do.
func (c *machCall) info() {
	if c.unreadLists() {
		return
	}
	var (
		names, jobs []string
		states      []int32
	)
	b := c.b()
	b.mu.Lock() // or one that is published again meanwhile would be seen twice, or not at all
	ports := b.index.portsOf(c.s.namespace)
	b.mu.Unlock()
	slices.SortFunc(ports, func(x, y *record) int { return cmp.Compare(x.name, y.name) })
	for _, r := range ports {
		names, jobs, states = append(names, r.name), append(jobs, r.job), append(states, r.status)
	}
	reply := c.req.Granted()
	lists := [3][]byte{mach.AppendNames(nil, names...), mach.AppendNames(nil, jobs...), mach.AppendStates(nil, states...)}
	var fds []int
	for i, list := range lists {
		reply.Counts[i] = uint32(len(names))
		if len(list) == 0 {
			continue
		}
		memory, err := sys.SealedMemory("info", list)
		if err != nil {
			c.noRoom(err)
			return
		}
		defer memory.Close()
		fds = append(fds, memory.Int())
		reply.Lists[i] = mach.Memory{Fd: mach.Fd(len(fds)), Length: uint32(len(list))}
	}
	_ = c.answer(reply, fds...)
}

// unreadLists refuses a request for a list if the client has left too much unread, and reports that.
func (c *machCall) unreadLists() bool {
	to, waiting := c.replyTo, false
	if c.conn != nil {
		to, waiting = c.conn.fd, len(c.conn.unsent) > 0
	}
	if n, err := sys.Unread(to); err == nil && n > unreadInfo || waiting {
		c.refuse(mach.NoMemory, "earlier replies were not read")
		return true
	}
	return false
}
