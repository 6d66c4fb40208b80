// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
	"github.com/switchboard-ipc/switchboard/internal/admission"
	"github.com/switchboard-ipc/switchboard/internal/exehash"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// Front is a broker that serves clients of running-process, too.
type Front struct {
	*Broker
	Address string // of its socket
}

// frontService is a service of a Front.
const frontService = "bench"

// StartFront starts a broker that serves clients of running-process at an
// address of its own, with one definition of theirs, whose program is c/daemon.c.
// Nothing of the user's is used: address, definitions and the backends' sockets
// are in a folder of its own, with a short name because of the sockets.
func (e *Env) StartFront(ctx context.Context, daemon string) (*Front, error) {
	folder, err := os.MkdirTemp("", "sb")
	if err != nil {
		return nil, fmt.Errorf("cannot make a temporary folder: %w", err)
	}
	e.folders = append(e.folders, folder)
	services, address := filepath.Join(folder, "services"), filepath.Join(folder, "rp.sock")
	if err := os.Mkdir(services, 0o700); err != nil {
		return nil, fmt.Errorf("cannot define services: %w", err)
	}
	var hasher exehash.Hasher
	blake3, sha256, err := hasher.Hash(daemon)
	if err == nil {
		err = os.WriteFile(daemon+".sums", slices.Concat(blake3[:], sha256[:]), 0o600)
	}
	if err == nil {
		d := envelope.ServiceDefinition{ServiceName: frontService, BinaryPath: daemon, Isolation: envelope.SharedBroker}
		err = os.WriteFile(filepath.Join(services, frontService+".servicedef"), d.Append(nil), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot define a service: %w", err)
	}
	setup := func(c *exec.Cmd) {
		c.Env = append(c.Env, "XDG_RUNTIME_DIR="+folder, "RUNNING_PROCESS_SERVICE_DEF_DIR="+services)
	}
	b, err := e.startBroker(ctx, setup, "--running-process", address)
	if err != nil {
		return nil, err
	}
	return &Front{b, address}, nil
}

// samples are what the C programs print of calls to a Front.
type samples struct {
	Request int       `json:"request"` // bytes
	Reply   int       `json:"reply"`
	Took    []float64 `json:"samples_ns"`
}

// sample runs one of the C programs, on the processor of callers if there is one.
func sample(ctx context.Context, on []string, argv ...string) (s samples, err error) {
	if err := proc.Run(ctx, &s, slices.Concat(on, argv)...); err != nil {
		return s, err
	}
	if len(s.Took) == 0 {
		return s, fmt.Errorf("no figures of %q", argv)
	}
	return s, nil
}

// Percentile is the nearest-rank percentile of the values, 0 if there are none.
func Percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return admission.NearestRank(slices.Sorted(slices.Values(values)), p)
}

// calls are the rounds of one way to call.
type calls struct {
	all      []float64 // every call, in nanoseconds
	p50, p99 []float64 // of each round, in microseconds
}

func (c *calls) add(s samples) {
	c.all = append(c.all, s.Took...)
	c.p50 = append(c.p50, Percentile(s.Took, 50)/1000)
	c.p99 = append(c.p99, Percentile(s.Took, 99)/1000)
}

// compareCalls makes the rows of the median and the 99th percentile: figures over all calls, ratios of the rounds.
func compareCalls(name string, ours calls, peerName string, peer calls, p50, p99 Limit) []Row {
	row := func(p float64, ourRounds, peerRounds []float64, want Limit) Row {
		r := Compare(fmt.Sprintf("%s, P%g", name, p), "µs", ourRounds, peerName, peerRounds, Limit{})
		r.Ours, r.Peer = Percentile(ours.all, p)/1000, Percentile(peer.all, p)/1000
		r.judge(want, r.Ours, " µs")
		r.Note = fmt.Sprintf("over %d calls", len(ours.all))
		return r
	}
	return []Row{row(50, ours.p50, peer.p50, p50), row(99, ours.p99, peer.p99, p99)}
}
