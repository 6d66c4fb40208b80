// SPDX-License-Identifier: Apache-2.0

package order

import (
	"encoding/binary"
	"fmt"
)

// Max is the size of the longest order, in bytes. The default send buffer of a Unix socket (212,992) holds it.
const Max = 128 << 10

// Accept is how a backend gets at its callers.
type Accept byte

// The four ways. The first byte of each word is its byte in an order.
const (
	Listener   Accept = 'l' // it accepts on a listening socket that is its descriptor 3
	Connection Accept = 'c' // its standard input and output are one caller's connection
	Path       Accept = 'p' // it binds a path itself
	Native     Accept = 'n' // it opens a session
)

// String returns the word of the definitions: "listener", "connection", "path", "native".
func (a Accept) String() string {
	switch a {
	case Listener:
		return "listener"
	case Connection:
		return "connection"
	case Path:
		return "path"
	case Native:
		return "native"
	}
	return fmt.Sprintf("Accept(%d)", byte(a))
}

// ParseAccept is the reverse of String; "" is Listener.
func ParseAccept(word string) (Accept, error) {
	switch word {
	case "", "listener":
		return Listener, nil
	case "connection":
		return Connection, nil
	case "path":
		return Path, nil
	case "native":
		return Native, nil
	}
	return 0, fmt.Errorf("accept is %q: it must be listener, connection, path or native", word)
}

// Order says what the exec shim is to become.
type Order struct {
	Accept   Accept
	Name     string   // for LISTEN_FDNAMES (a ":" in it becomes "_", since ":" parts names there)
	Argv     []string // Argv[0] is the absolute path of the program
	Env      []string // "K=V", complete but for LISTEN_*, which the shim adds
	Dir      string   // absolute
	UID, GID int      // -1: as they are
	Groups   []int    // set if UID or GID is; nil: none
	Backlog  int      // for listen, with Accept Listener
	Preamble []byte   // written to the connection after the report Taken, with Accept Connection
}

const (
	formOrder  = 1
	formReport = 2
)

// Append encodes o after b.
func (o Order) Append(b []byte) []byte {
	b = append(b, formOrder, byte(o.Accept))
	b = putString(b, o.Name)
	b = putStrings(b, o.Argv)
	b = putStrings(b, o.Env)
	b = putString(b, o.Dir)
	b = putID(putID(b, o.UID), o.GID)
	b = binary.AppendUvarint(b, uint64(len(o.Groups)))
	for _, g := range o.Groups {
		b = putID(b, g)
	}
	b = binary.AppendUvarint(b, uint64(max(o.Backlog, 0)))
	return putString(b, string(o.Preamble))
}

// Parse decodes one order, strictly.
func Parse(b []byte) (Order, error) {
	r := reader{b: b}
	if r.byte() != formOrder {
		return Order{}, errForm
	}
	o := Order{Accept: Accept(r.byte())}
	switch o.Accept {
	case Listener, Connection, Path, Native:
	default:
		return Order{}, errForm
	}
	o.Name = r.string()
	o.Argv = r.strings()
	o.Env = r.strings()
	o.Dir = r.string()
	o.UID, o.GID = r.id(), r.id()
	if n := r.count(); n > 0 {
		o.Groups = make([]int, n)
		for i := range o.Groups {
			o.Groups[i] = r.id()
		}
	}
	o.Backlog = int(min(r.uint(), 1<<31-1))
	if p := r.string(); p != "" {
		o.Preamble = []byte(p)
	}
	if err := r.end(); err != nil {
		return Order{}, err
	}
	if len(o.Argv) == 0 {
		return Order{}, errForm
	}
	return o, nil
}
