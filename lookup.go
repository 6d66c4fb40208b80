// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"

	"github.com/switchboard-ipc/switchboard/internal/name"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// LookUp asks who has a name, without calling it: in the session's namespace first, then in the ones around it. A name that
// nobody has is ErrUnavailable.
func (c *Client) LookUp(ctx context.Context, service string, opts ...LookUpOption) (Entry, error) {
	if err := name.Check(service); err != nil {
		return Entry{}, &Error{Code: CodeUsage, Op: "look up", Name: service, Text: err.Error(), Err: err}
	}
	question := session.LookUp{Name: service}
	if len(opts) > 0 {
		var o lookUpOptions
		for _, opt := range opts {
			opt.applyLookUp(&o)
		}
		question.Kind, question.Version, question.Scope = session.EntryKind(o.kind), o.version, o.scope
	}
	cl := calls.Get().(*call)
	cl.op, cl.sent = session.OpLookUp, nil
	cl.packet = question.Append(append(cl.packet[:0], emptyHeader[:]...))
	if err := c.session.do(ctx, cl); err != nil {
		return Entry{}, during("look up", service, err) // cl may still be on its way
	}
	entry, err := parseLookUp(cl.payload)
	putBuffer(cl.reply)
	cl.reply, cl.payload = nil, nil
	calls.Put(cl)
	if err != nil {
		return Entry{}, during("look up", service, err)
	}
	return entry, nil
}

// parseLookUp returns the entry in the payload of a reply.
func parseLookUp(payload []byte) (Entry, error) {
	m, err := session.ParseLookUpReply(payload)
	switch {
	case err != nil:
		return Entry{}, err
	case m.Code != session.OK:
		return Entry{}, refusal(m.Code, m.Text)
	}
	return newEntry(&m.Entry), nil
}
