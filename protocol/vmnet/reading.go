// SPDX-License-Identifier: Apache-2.0

package vmnet

import (
	"errors"
	"strings"

	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// reading takes keys out of a dictionary, and keeps the first fault.
type reading struct {
	root    xpc.Dict
	refused *Refusal
	outer   *reading // is told as well
}

func (p *reading) refuse(format string, args ...any) {
	if p.refused == nil {
		p.refused = Refuse(InvalidRequest, format, args...)
	}
	if p.outer != nil {
		p.outer.refuse(format, args...)
	}
}

func (p *reading) check(err error, needed bool) {
	if err != nil && (needed || !errors.Is(err, xpc.ErrMissing)) {
		p.refuse("%v", err)
	}
}

// invalid returns the fault as one of a reply, or nil.
func (p *reading) invalid() error {
	if p.refused == nil {
		return nil
	}
	return Refuse(InvalidReply, "%s", p.refused.Why)
}

// inside reads a dictionary in this one.
func (p *reading) inside(v xpc.Value) *reading {
	d, ok := v.(xpc.Dict)
	if !ok {
		p.refuse("an element is no dictionary")
	}
	return &reading{root: d, outer: p}
}

func (p *reading) text(key string, needed bool) string {
	s, err := p.root.String(key)
	p.check(err, needed)
	return s
}

func (p *reading) number(key string, needed bool) uint64 {
	n, err := p.root.Uint(key)
	p.check(err, needed)
	return n
}

func (p *reading) signed(key string) int64 {
	n, err := p.root.Int(key)
	p.check(err, true)
	return n
}

func (p *reading) date(key string) int64 {
	n, err := p.root.Date(key)
	p.check(err, true)
	return n
}

func (p *reading) truth(key string) bool {
	t, err := p.root.Bool(key)
	p.check(err, true)
	return t
}

func (p *reading) oneOf(key, value string, allowed ...string) {
	if !p.root.Has(key) {
		return
	}
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	p.refuse("%s is %q, and must be %s", key, clip(value), strings.Join(allowed, " or "))
}

func (p *reading) counts() Counts {
	n := func(key string) uint64 { return p.number(key, true) }
	return Counts{
		FramesIn: n("frames_in"), BytesIn: n("bytes_in"), FramesOut: n("frames_out"), BytesOut: n("bytes_out"),
		Dropped: n("dropped"), Refused: n("refused"),
	}
}

func (p *reading) flows(protocol string) Flows {
	n := func(key string) uint64 { return p.number(protocol+key, true) }
	return Flows{Now: n("_now"), All: n("_all"), Refused: n("_refused")}
}

func (p *reading) forwarded() Forwarded {
	return Forwarded{Protocol: p.text("protocol", true), Address: p.text("address", true), Guest: p.text("guest", true)}
}

// clip shortens what an error quotes.
func clip(s string) string {
	const shown = 64
	if len(s) > shown {
		return strings.ToValidUTF8(s[:shown], "") + "…"
	}
	return s
}
