// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"math"
	"os"
	"slices"
	"sync"

	"github.com/switchboard-ipc/switchboard/internal/name"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// Namespace is a namespace that this program has joined. Programs inside it have names of their own there, and find those of the namespaces
// around it too. It lasts as long as one of the sessions that joined it.
type Namespace struct {
	name    string
	only    []string // seen of the namespaces around it
	sealed  bool
	session *clientSession

	mu     sync.Mutex // guards what follows
	number uint64
	path   string
	err    error // why it is lost
	doors  []*heldDoor
}

// lostNumber is one that no namespace has.
const lostNumber = math.MaxUint64

// NamespaceOption says what a namespace is like that [Client.Namespace] makes.
type NamespaceOption interface{ applyNamespace(*Namespace) }

type sealed []string

func (s sealed) applyNamespace(n *Namespace) {
	n.sealed, n.only = true, append(n.only, s...)
}

// Sealed seals a namespace: of the names in the namespaces around it, only these are seen from inside. It can be joined again with
// the same names, or without this.
func Sealed(only ...string) NamespaceOption { return sealed(only) }

// Namespace joins the namespace of that name below the Client's own, making it if there is none. What is
// inside, and whoever: use [Namespace.Door] for a child process.
func (c *Client) Namespace(ctx context.Context, space string, opts ...NamespaceOption) (*Namespace, error) {
	n := &Namespace{name: space, session: c.session}
	for _, opt := range opts {
		opt.applyNamespace(n)
	}
	for _, each := range append([]string{space}, n.only...) {
		if err := name.Check(each); err != nil {
			return nil, &Error{Code: CodeUsage, Op: "join namespace", Name: space, Text: err.Error(), Err: err}
		}
	}
	if err := c.session.obtain(ctx, n); err != nil {
		return nil, during("join namespace", space, err)
	}
	return n, nil
}

// Path returns where the namespace is, such as "/ci/job".
func (n *Namespace) Path() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.path
}

// Door returns a descriptor that leads into the namespace, to be inherited by child processes: pass its number there in EnvSessionFD,
// and close the file after that. It works as long as the Client is open and the Namespace is not closed.
func (n *Namespace) Door(ctx context.Context) (*os.File, error) {
	n.mu.Lock()
	err := n.err
	n.mu.Unlock()
	if err != nil {
		return nil, during("open a door into", n.name, err)
	}
	d := &heldDoor{session: n.session, namespace: n}
	file, err := n.session.openDoor(ctx, d)
	if err != nil {
		return nil, during("open a door into", n.name, err)
	}
	n.mu.Lock()
	lost := n.err
	n.doors = append(n.doors, d)
	n.mu.Unlock()
	if lost != nil { // while the door was made
		d.close()
		file.Close()
		return nil, during("open a door into", n.name, lost)
	}
	return file, nil
}

// Close closes the doors that were opened into the namespace: processes inside cannot connect any more. The Client is a member of the
// namespace until it is closed itself. Closing again does nothing.
func (n *Namespace) Close() error {
	n.session.drop(n)
	n.lost(errClosed)
	return nil
}

func (n *Namespace) request() *call {
	return newCall(session.OpNamespace, session.Namespace{Name: n.name, Sealed: n.sealed, Only: n.only}.Append)
}

func (n *Namespace) granted(payload []byte, _ *sys.Buffer) (uint64, error) {
	m, err := session.ParseNamespaceReply(payload)
	switch {
	case err != nil:
		return 0, err
	case m.Code != session.OK:
		return 0, refusal(m.Code, m.Text)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.number, n.path = m.Namespace, m.Path
	return 0, nil
}

func (n *Namespace) lost(err error) {
	n.mu.Lock()
	if n.err == nil {
		n.err = err
	}
	n.number = lostNumber
	doors := slices.Clone(n.doors)
	n.doors = nil
	n.mu.Unlock()
	n.session.client.run(func() { // the reader may be the one who tells
		for _, d := range doors {
			d.close()
		}
	})
}

// Door returns a descriptor that leads to where this Client is, for child processes; see [Namespace.Door].
func (c *Client) Door(ctx context.Context) (*os.File, error) {
	file, err := c.session.openDoor(ctx, &heldDoor{session: c.session})
	return file, during("open a door for", "", err)
}

// heldDoor is the broker's end of a door. The duplicate is for the broker's successor: children go on with theirs.
type heldDoor struct {
	session   *clientSession
	namespace *Namespace // nil: the Client's own

	mu  sync.Mutex // held while the end is closed, or duplicated
	end *sys.FD
}

func (s *clientSession) openDoor(ctx context.Context, d *heldDoor) (*os.File, error) {
	child, end, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		return nil, err
	}
	d.end = end
	err = sys.SetNonblock(child.Int(), false) // what programs expect of what they inherit
	if err == nil {
		err = s.obtain(ctx, d)
	}
	if err != nil {
		child.Close()
		return nil, err
	}
	return os.NewFile(uintptr(child.Take()), "door"), nil
}

func (d *heldDoor) close() {
	ctx, cancel := context.WithTimeout(d.session.client.ctx, releaseTimeout)
	defer cancel()
	d.session.release(ctx, d)
	d.shut()
}

func (d *heldDoor) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end.Close()
}

// duplicate returns a duplicate of the end, or errUnwanted if that is closed.
func (d *heldDoor) duplicate() (*sys.FD, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.end.Int() < 0 {
		return nil, errUnwanted
	}
	return sys.Dup(d.end.Int())
}

func (d *heldDoor) request() *call {
	cl := newCall(session.OpDoor, func(b []byte) []byte {
		var number uint64
		if n := d.namespace; n != nil {
			n.mu.Lock()
			number = n.number
			n.mu.Unlock()
		}
		return session.Door{Namespace: number}.Append(b)
	})
	cl.fd = d.end
	return cl
}

func (d *heldDoor) granted(payload []byte, _ *sys.Buffer) (uint64, error) {
	m, err := session.ParseDoorReply(payload)
	switch {
	case err != nil:
		return 0, err
	case m.Code != session.OK:
		return 0, refusal(m.Code, m.Text)
	}
	return m.Lease, nil
}

func (d *heldDoor) lost(error) { d.shut() }
