// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
)

// machSessions have the ports of the rows about look-ups of ports: as many sessions as a limit of 1,024 leases each asks for.
const machSessions = 10

// MachPorts is a broker whose names bench.sS.nN are ports, and what can be compared with a look-up of one.
type MachPorts struct {
	*Broker
	Sessions, Names int // so many sessions, so many ports each
}

// Socket is where its Mach front is.
func (m MachPorts) Socket() string { return filepath.Join(m.Folder, "bootstrap.sock") }

// StartMachPorts starts a broker with ports.
func (e *Env) StartMachPorts(ctx context.Context, sessions, names int) (m MachPorts, err error) {
	b, err := e.StartBroker(ctx)
	if err != nil {
		return m, err
	}
	m = MachPorts{b, sessions, names}
	return m, m.hold(ctx, e, "bench", names)
}

// hold starts a process that has ports PREFIX.sS.nN.
func (m MachPorts) hold(ctx context.Context, e *Env, prefix string, names int) error {
	_, err := e.StartRole(ctx, group{folder: m.Socket(), prefix: prefix, sessions: m.Sessions, names: names}.args("mach-hold")...)
	return err
}

// StartEcho starts the barest server of packets in Go, which answers each with 40 bytes, and if pass is true with a descriptor. It
// returns its path.
func (e *Env) StartEcho(ctx context.Context, pass bool) (path string, err error) {
	path = filepath.Join(e.Folder, "echo-"+strconv.FormatBool(pass))
	_, err = e.Start(ctx, append(e.options.Self[:len(e.options.Self):len(e.options.Self)], "mach-echo", path, strconv.FormatBool(pass)),
		proc.Options{Session: true})
	return path, err
}

// mach measures a look-up of a port by a client in Go, beside an echo of packets of that size by the same client.
func mach(ctx context.Context, e *Env) ([]Row, error) {
	place, note := Places()
	e.On = place.Services
	m, err := e.StartMachPorts(ctx, 1, 1)
	if err != nil {
		return nil, err
	}
	plain, err := e.StartEcho(ctx, false)
	if err != nil {
		return nil, err
	}
	passing, err := e.StartEcho(ctx, true)
	if err != nil {
		return nil, err
	}
	e.On = place.Caller
	var clients []*proc.Process
	for _, socket := range []string{m.Socket(), plain, passing} {
		p, err := e.StartRole(ctx, group{folder: socket, prefix: "bench", sessions: 1, names: 1}.args("mach-look-up")...)
		if err != nil {
			return nil, err
		}
		clients = append(clients, p)
	}
	took := make([][]float64, len(clients))
	for range e.Rounds() {
		for i, p := range clients {
			us, err := microseconds(ctx, p, e.Slice())
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], us)
		}
	}
	row := Compare("Mach look_up, client in Go", "µs", took[0], "echo in Go", took[1], Limit{AtMost: 1.3})
	row.Note = note
	return []Row{row, Compare("Mach look_up, client in Go", "µs", took[0], "echo in Go that passes a descriptor", took[2], Limit{})}, nil
}

// microseconds has a role count for a while, and returns the mean of one.
func microseconds(ctx context.Context, p *proc.Process, d time.Duration) (float64, error) {
	if err := p.Tell("%s", d); err != nil {
		return 0, err
	}
	var r rate
	if err := p.Result(ctx, &r); err != nil {
		return 0, err
	}
	if r.Count == 0 {
		return 0, errors.New("no round trip was made")
	}
	return r.Seconds * 1e6 / float64(r.Count), nil
}

// MachManyAndFew starts a broker with 10,000 ports and one with 100, in as many sessions.
func (e *Env) MachManyAndFew(ctx context.Context) (many, few MachPorts, err error) {
	if many, err = e.StartMachPorts(ctx, machSessions, 1000); err != nil {
		return many, few, err
	}
	few, err = e.StartMachPorts(ctx, machSessions, 10)
	return many, few, err
}

// MachManyRow is the row about many ports: microseconds for each look-up among many and among few. It wants nothing: part of it is
// the kernel's, which finds fewer of the sockets that it passes in its caches.
func MachManyRow(how string, many, few []float64) Row {
	return Compare(fmt.Sprintf("Mach look_up among 10,000 ports, %s", how), "µs", many, "among 100", few, Limit{})
}

// machMany compares what a look-up costs among 10,000 ports and among 100.
func machMany(ctx context.Context, e *Env) ([]Row, error) {
	if err := FewDescriptors(); err != nil {
		return []Row{{Name: "Mach look_up among 10,000 ports, Go", Skipped: err.Error()}}, nil
	}
	place, _ := Places() // all on one processor: what is compared is not waking somebody
	e.On = place.Services
	many, few, err := e.MachManyAndFew(ctx)
	if err != nil {
		return nil, err
	}
	var took [2][]float64
	var clients [2]*proc.Process
	for i, m := range []MachPorts{many, few} {
		clients[i], err = e.StartRole(ctx, group{folder: m.Socket(), prefix: "bench", sessions: m.Sessions, names: m.Names}.args("mach-look-up")...)
		if err != nil {
			return nil, err
		}
	}
	for range e.Rounds() {
		for i, p := range clients {
			us, err := microseconds(ctx, p, e.Slice())
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], us)
		}
	}
	return []Row{MachManyRow("Go", took[0], took[1])}, nil
}

// FewDescriptors says why a broker and an owner cannot have 10,000 ports, or nothing.
func FewDescriptors() error {
	const need = 10_200 // with what a broker keeps back
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Max < need {
		return fmt.Errorf("a process may have %d descriptors here; %d are needed", limit.Max, need)
	}
	return nil
}

// machMemory measures what ports and subsets take of the broker's memory, and subsets of its time.
func machMemory(ctx context.Context, e *Env) ([]Row, error) {
	if err := FewDescriptors(); err != nil {
		return []Row{{Name: "a port that is checked in", Skipped: err.Error()}}, nil
	}
	ports, err := e.machPortMemory(ctx)
	if err != nil {
		return nil, err
	}
	subsets, err := e.machSubsets(ctx)
	return append([]Row{ports}, subsets...), err
}

// machPortMemory is what each of 10,000 ports that are checked in adds to the broker.
func (e *Env) machPortMemory(ctx context.Context) (Row, error) {
	m, err := e.StartMachPorts(ctx, machSessions, 1)
	if err != nil {
		return Row{}, err
	}
	before, err := e.anonymous(ctx, m.PID())
	if err != nil {
		return Row{}, err
	}
	const each = 1000
	if err := m.hold(ctx, e, "more", each); err != nil {
		return Row{}, err
	}
	after, err := e.anonymous(ctx, m.PID())
	row := Alone("a port that is checked in", "KiB", []float64{(after - before) / (machSessions * each)}, Limit{})
	row.Note = fmt.Sprintf("resident, of %d; the kernel's part, a socket and its queue, not counted", machSessions*each)
	return row, err
}

// machSubsets measures 1,000 subsets of one session.
func (e *Env) machSubsets(ctx context.Context) ([]Row, error) {
	const count = 1000
	m, err := e.StartMachPorts(ctx, 1, 1)
	if err != nil {
		return nil, err
	}
	before, err := e.anonymous(ctx, m.PID())
	if err != nil {
		return nil, err
	}
	p, err := e.StartRole(ctx, "mach-subsets", m.Socket(), strconv.Itoa(count))
	if err != nil {
		return nil, err
	}
	us, err := microseconds(ctx, p, time.Millisecond)
	if err != nil {
		return nil, err
	}
	after, err := e.anonymous(ctx, m.PID())
	if err != nil {
		return nil, err
	}
	ends, err := microseconds(ctx, p, time.Millisecond)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("each of %d subsets", count)
	end := Alone(name+", until it has ended", "µs", []float64{ends}, Limit{})
	end.Note = "all requestor ports are closed, one after the other, and then each subset's death is awaited"
	return []Row{
		Alone(name+", made and its port received", "µs", []float64{us}, Limit{}),
		end,
		Alone(name+", resident", "KiB", []float64{(after - before) / count}, Limit{}),
	}, nil
}

// anonymous is what a process has of its own a while later, in KiB.
func (e *Env) anonymous(ctx context.Context, pid int) (float64, error) {
	after := 5 * time.Second
	if e.Quick() {
		after = time.Second
	}
	if err := pause(ctx, after); err != nil {
		return 0, err
	}
	m, err := proc.MemoryOf(pid)
	return float64(m.Anonymous) / kib, err
}
