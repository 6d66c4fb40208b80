// SPDX-License-Identifier: Apache-2.0

package runningprocess

import "sync"

// queue are the connections that wait for Accept.
type queue struct {
	limit int // from which on there is no room

	mu      sync.Mutex
	changed sync.Cond // its lock is mu
	conns   []*Conn
	err     error // once it has ended
}

func newQueue(limit int) *queue {
	q := &queue{limit: limit}
	q.changed.L = &q.mu
	return q
}

// put adds a connection, beyond the limit too; once the queue has ended it is closed.
func (q *queue) put(c *Conn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		c.Close()
		return
	}
	q.conns = append(q.conns, c)
	q.changed.Broadcast()
}

// take waits for a connection.
func (q *queue) take() (*Conn, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.conns) == 0 {
		if q.err != nil {
			return nil, q.err
		}
		q.changed.Wait()
	}
	c := q.conns[0]
	q.conns[0] = nil
	q.conns = q.conns[1:]
	q.changed.Broadcast()
	return c, nil
}

// room waits until there is room, and reports false once the queue has ended.
func (q *queue) room() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.err == nil && len(q.conns) >= q.limit {
		q.changed.Wait()
	}
	return q.err == nil
}

// full reports whether there is no room.
func (q *queue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.conns) >= q.limit
}

// end has take return err from now on, and closes what waits. It reports whether this was the first time.
func (q *queue) end(err error) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return false
	}
	q.err = err
	for _, c := range q.conns {
		c.Close()
	}
	q.conns = nil
	q.changed.Broadcast()
	return true
}
