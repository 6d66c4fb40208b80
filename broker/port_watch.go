// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// rightWatch is a right that is watched for its death, once for all whom that concerns, and with one descriptor: our epoll set is in
// that of the runtime, and the kernel lets a socket be in 500 of such at most, or 500 times in one.
type rightWatch struct {
	id     directory.ID // in the table
	cookie uint64
	right  *sharedRight
	all    []concerned
}

// concerned is whom the death of a right concerns: a port that has its name by it, a subset that lasts as long, a request to be told.
type concerned interface {
	place() *concern
	// rightDied goes on after the death of the right, which is not watched for it any more. The lock is held.
	rightDied(b *Broker)
}

// concern is one's place in a watch. The zero value is none.
type concern struct {
	watch *rightWatch
	at    int // in all
}

func (c *concern) place() *concern { return c }

// toldAtOnce bounds to how many the death of a right is told before others have their turn.
const toldAtOnce = 64

// watchRight has the loop tell who of the death of a right, which is the table's from now on, or closed. The lock is held.
func (b *Broker) watchRight(right *sys.FD, who concerned) error {
	cookie, err := sys.Cookie(right.Int())
	if err != nil {
		right.Close()
		return err
	}
	w := b.rights[cookie]
	if w != nil {
		right.Close()
	} else {
		w = &rightWatch{id: b.table.id(), cookie: cookie, right: newSharedRight(right)}
		if err := b.poller.Add(right.Int(), 0, uint64(w.id)); err != nil { // a hang-up is always told
			right.Close()
			return err
		}
		b.table.put(&descriptor{id: w.id, kind: watchedRight, fd: right, right: w.right, watch: w})
		b.rights[cookie] = w
	}
	*who.place() = concern{watch: w, at: len(w.all)}
	w.all = append(w.all, who)
	return nil
}

// unwatchRight ends that. The lock is held.
func (b *Broker) unwatchRight(who concerned) {
	c := who.place()
	w := c.watch
	if w == nil {
		return
	}
	last := len(w.all) - 1
	w.all[c.at] = w.all[last]
	w.all[c.at].place().at = c.at
	w.all[last] = nil
	w.all = w.all[:last]
	*c = concern{}
	if last == 0 {
		delete(b.rights, w.cookie)
		b.drop(w.id)
	}
}

// rightDied tells all whom the death of a right concerns. The loop's.
func (b *Broker) rightDied(w *rightWatch) {
	for more := true; more; {
		b.mu.Lock()
		for range toldAtOnce {
			if len(w.all) == 0 {
				break
			}
			who := w.all[len(w.all)-1] // subsets of one requestor: the inner ones first
			b.unwatchRight(who)
			who.rightDied(b)
		}
		more = len(w.all) > 0
		b.mu.Unlock()
		b.finishSlices()
	}
}
