// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
)

// Hellos measures a warm Hello of running-process, from its write to its reply
// decoded, by one client and by eight at once; hello and daemon are the programs
// of c/hello.c and c/daemon.c. The peer is the barest server: it accepts, reads
// as many bytes, and answers as many. Last comes what the broker has resident then.
func (e *Env) Hellos(ctx context.Context, hello, daemon string) ([]Row, error) {
	const version = "1.0.0"
	place, note := Places()
	e.On = place.Services
	f, err := e.StartFront(ctx, daemon)
	if err != nil {
		return nil, err
	}
	warm, err := sample(ctx, nil, hello, "hello", f.Address, frontService, version, "250", "1") // launches the backend, too
	if err != nil {
		return nil, err
	}
	request, reply, bare := strconv.Itoa(warm.Request), strconv.Itoa(warm.Reply), filepath.Join(e.Folder, "bare")
	if _, err := e.Start(ctx, []string{hello, "serve", bare, request, reply}, proc.Options{EndsByTERM: true, Session: true}); err != nil {
		return nil, err
	}
	count := 1000
	if e.Quick() {
		count = 250
	}
	measure := func(on []string, count, clients int) (ours, peer calls, err error) {
		n, c := strconv.Itoa(count), strconv.Itoa(clients)
		for range e.Rounds() {
			s, err := sample(ctx, on, hello, "hello", f.Address, frontService, version, n, c)
			if err != nil {
				return ours, peer, err
			}
			ours.add(s)
			if s, err = sample(ctx, on, hello, "bytes", bare, request, reply, n, c); err != nil {
				return ours, peer, err
			}
			peer.add(s)
		}
		return ours, peer, nil
	}
	ours, peer, err := measure(place.Caller, count, 1)
	if err != nil {
		return nil, err
	}
	const peerName = "accept and echo in C"
	table := compareCalls("warm Hello", ours, peerName, peer, Limit{AtMost: 100}, Limit{AtMost: 500})
	table[0].Note = fmt.Sprintf("%s; requests of %s bytes, replies of %s; %s", table[0].Note, request, reply, note)
	if ours, peer, err = measure(nil, count/2, 8); err != nil {
		return nil, err
	}
	eight := compareCalls("warm Hello, 8 processes at once", ours, peerName, peer, Limit{}, Limit{})
	eight[0].Note += ", anywhere but broker and server; running-process itself, as measured for it on 4 processors: 510 µs and 5.6 ms"
	table = append(table, eight...)
	if err := pause(ctx, time.Second); err != nil {
		return nil, err
	}
	m, err := proc.MemoryOf(f.PID())
	if err != nil {
		return nil, err
	}
	memory := Alone("resident memory after these Hellos", "MiB", []float64{float64(m.Resident) / mib}, Limit{})
	memory.Note = "running-process itself, as measured for it: 4.2 MB"
	return append(table, memory), nil
}
