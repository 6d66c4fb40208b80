// SPDX-License-Identifier: Apache-2.0

package xpc

import (
	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// Answer is what a routine's reply says (sections 6.1 and 6.2). Which fields count
// besides the error depends on the routine.
type Answer struct {
	Error Code

	Port      mach.Right // check-in: the receive end; look-up: a send end
	ReqPID    int64      // CheckIn2, LookUp2
	ExecCount int64      // CheckIn2, LookUp2

	Jobs       []Job       // GetJobs
	Attributes ServiceInfo // Attributes
	Services   []Listed    // List
}

// Job is one job of GetJobs.
type Job struct {
	Label    string
	Services []string // names
}

// ServiceInfo is what Attributes tells of a program.
type ServiceInfo struct {
	BundleID string
	PID      int64
	Name     string
}

// Listed is one service of List.
type Listed struct {
	Label  string
	PID    int64
	Status int64
}

// Reply returns the reply to a request, with the keys in their order. Labels and
// names must differ, or it cannot be written.
func (r Request) Reply(a Answer) Message {
	m := Message{Kind: KindReply, Token: r.Token, Magic: r.Magic}
	d := &m.Root
	if r.Routine.newer() {
		d.Set("error", Int64(a.Error))
		if a.Error == OK {
			d.Set("port", r.port(a.Port))
		}
		d.Set("req_pid", Int64(a.ReqPID))
		d.Set("rec_execcnt", Int64(a.ExecCount))
		return m
	}
	switch {
	case r.Numbered && r.Routine == List && a.Error == OK:
	case r.Numbered:
		d.Set("error", Int64(a.Error))
	default:
		d.Set("subsystem", Int64(r.answered()))
		d.Set("error", Int64(a.Error))
		d.Set("routine", Int64(r.Routine))
	}
	if a.Error != OK {
		return m
	}
	switch r.Routine {
	case CheckIn:
		d.Set("port", r.port(a.Port))
		d.Set("handle", Int64(r.Handle))
	case LookUp:
		d.Set("handle", Int64(r.Handle))
		d.Set("port", r.port(a.Port))
	case GetJobs:
		d.Set("handle", Int64(r.Handle))
		d.Set("response", jobs(a.Jobs))
	case Attributes:
		d.Set("handle", Int64(r.Handle))
		d.Set("attrs", Dict{
			{"bundle-id", String(a.Attributes.BundleID)},
			{"pid", Int64(a.Attributes.PID)},
			{"name", String(a.Attributes.Name)},
		})
	case List:
		d.Set("services", services(a.Services))
	}
	return m
}

// answered returns the subsystem that replies name: 3, even for Attributes, but
// for GetJobs.
func (r Request) answered() uint64 {
	if r.Routine == GetJobs {
		return 7
	}
	return 3
}

func (r Request) port(p mach.Right) Value {
	if r.Routine.checksIn() {
		return MachRecv{p}
	}
	return MachSend{p}
}

func jobs(list []Job) Dict {
	d := make(Dict, 0, len(list))
	for _, j := range list {
		names := make(Dict, 0, len(j.Services))
		for _, name := range j.Services {
			names = append(names, Entry{name, Bool(true)})
		}
		d = append(d, Entry{j.Label, Dict{{"Label", String(j.Label)}, {"MachServices", names}}})
	}
	return d
}

func services(list []Listed) Dict {
	d := make(Dict, 0, len(list))
	for _, s := range list {
		d = append(d, Entry{s.Label, Dict{{"pid", Int64(s.PID)}, {"status", Int64(s.Status)}}})
	}
	return d
}

// ParseAnswer reads the reply to a request of a routine. An answer that says so
// is no error. The error is a [*Refusal] with BadResponse: a key is of a wrong type,
// or what a success has is missing.
func ParseAnswer(routine Routine, m Message) (Answer, error) {
	k := reader{d: m.Root}
	a := Answer{Error: Code(k.int("error"))}
	switch {
	case m.Kind != KindReply:
		return Answer{}, bad(routine, "it is no reply")
	case routine.newer():
		a.ReqPID, a.ExecCount = k.int("req_pid"), k.int("rec_execcnt")
	}
	if a.Error == OK {
		a.results(routine, &k)
	}
	if k.err != nil {
		return Answer{}, bad(routine, k.err.Error())
	}
	return a, nil
}

func bad(routine Routine, why string) *Refusal {
	return &Refusal{Request{Routine: routine}, BadResponse, why}
}

// results reads what a success has.
func (a *Answer) results(routine Routine, k *reader) {
	switch {
	case routine.checksIn():
		port, err := Get[MachRecv](k.d, "port")
		k.must(err)
		a.Port = port.Right
	case routine.looksUp():
		port, err := Get[MachSend](k.d, "port")
		k.must(err)
		a.Port = port.Right
	case routine == GetJobs:
		for job := range k.each("response") {
			j := Job{Label: job.text("Label")}
			for _, service := range job.dict("MachServices") {
				j.Services = append(j.Services, service.Key)
			}
			a.Jobs = append(a.Jobs, j)
			k.must(job.err)
		}
	case routine == Attributes:
		attrs, err := k.d.Dict("attrs")
		k.must(err)
		in := reader{d: attrs}
		a.Attributes = ServiceInfo{in.text("bundle-id"), in.int("pid"), in.text("name")}
		k.must(in.err)
	case routine == List:
		for service, label := range k.each("services") {
			a.Services = append(a.Services, Listed{label, service.int("pid"), service.int("status")})
			k.must(service.err)
		}
	}
}

// must keeps an error, even that a key is missing.
func (k *reader) must(err error) {
	if err != nil && k.err == nil {
		k.err = err
	}
}

// each goes through the dictionaries in a dictionary, which must be there.
func (k *reader) each(key string) func(yield func(*reader, string) bool) {
	return func(yield func(*reader, string) bool) {
		all, err := k.d.Dict(key)
		k.must(err)
		for _, entry := range all {
			d, err := all.Dict(entry.Key)
			if k.must(err); err != nil || !yield(&reader{d: d}, entry.Key) {
				return
			}
		}
	}
}
