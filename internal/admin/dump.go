// SPDX-License-Identifier: Apache-2.0

package admin

type dumpBody struct {
	head
	Instance string      `json:"broker_instance"`
	Config   groups      `json:"effective_config"`
	Backends []dumpRow   `json:"backend_table"`
	Budgets  []budgetRow `json:"spawn_budgets"`
	Events   []eventRow  `json:"recent_lifecycle_events"`
}

type dumpRow struct {
	Service string `json:"service_name"`
	Version string `json:"service_version"`
	PID     uint32 `json:"pid"`
	Pipe    string `json:"backend_pipe"`
	State   State  `json:"state"`
}

type budgetRow struct {
	Instance   string  `json:"broker_instance"`
	Service    string  `json:"service_name"`
	Version    string  `json:"service_version"`
	Used       uint32  `json:"attempts_used"`
	Remaining  uint32  `json:"remaining"`
	InFlight   bool    `json:"in_flight"`
	RetryAfter *uint64 `json:"retry_after_ms"` // null while attempts remain
}

// eventRow is a LifecycleEvent. The original never has a row: the names are those of the message's fields.
type eventRow struct {
	UnixMS       uint64            `json:"ts_ms"`
	PID          uint32            `json:"pid"`
	Service      string            `json:"service_name"`
	Kind         string            `json:"kind"`
	Reason       string            `json:"reason"`
	Extra        map[string]string `json:"extra"`
	Severity     uint32            `json:"severity_number"`
	SeverityText string            `json:"severity_text"`
	RequestID    string            `json:"request_id"`
	ConnectionID uint64            `json:"connection_id"`
	Instance     string            `json:"broker_instance"`
}

func dump(s Snapshot) dumpBody {
	body := dumpBody{
		head: headOf("dump", s), Instance: s.Instance, Config: effective(s),
		Backends: make([]dumpRow, len(s.Backends)),
		Budgets:  make([]budgetRow, len(s.Budgets)),
		Events:   make([]eventRow, len(s.Events)),
	}
	for i, b := range s.Backends {
		body.Backends[i] = dumpRow{b.Service, b.Version, b.PID, b.Pipe, b.State}
	}
	for i, b := range s.Budgets {
		body.Budgets[i] = b.row(s.GeneratedUnixMS)
	}
	for i, e := range s.Events {
		if e.Extra == nil {
			e.Extra = map[string]string{}
		}
		body.Events[i] = eventRow(e)
	}
	return body
}

// at is the budget at a moment: after its window it is whole again.
func (b Budget) at(unixMS uint64) Budget {
	if unixMS >= b.WindowEndUnixMS {
		b.Used, b.Remaining = 0, b.Used+b.Remaining
	}
	return b
}

func (b Budget) row(now uint64) budgetRow {
	b = b.at(now)
	row := budgetRow{b.Instance, b.Service, b.Version, b.Used, b.Remaining, b.InFlight, nil}
	if b.Remaining == 0 && b.WindowEndUnixMS > now {
		wait := b.WindowEndUnixMS - now
		row.RetryAfter = &wait
	}
	return row
}
