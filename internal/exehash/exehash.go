// SPDX-License-Identifier: Apache-2.0

// Package exehash knows the digests of executables: BLAKE3, by which the
// running-process broker identifies a backend's program (its protocol,
// sections 8 and 9), and SHA-256, which its older readers know.
//
// A file is read again only if it changed.
package exehash

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"lukechampine.com/blake3"
)

const (
	// settled is the age at which a file's last change is trusted to be the last of its moment: the clock of files is
	// coarse, and a second change within one tick of it leaves no trace.
	settled = 50 * time.Millisecond
	// attempts is how often a file is read that changes while it is.
	attempts = 3
	// capacity is how many digests are kept.
	capacity = 1024
	// chunk is how much of a file is read at a time, in bytes.
	chunk = 256 << 10
)

// errChanging is what a file that does not hold still is refused with.
var errChanging = errors.New("it changes while it is read")

// stamp changes whenever a file does, and is another for every file.
type stamp struct {
	device, inode     uint64
	size              int64
	modified, changed int64 // nanoseconds since 1970
}

// last is when the file last changed, by the clock that nobody can set where there is one.
func (s stamp) last() int64 {
	if s.changed != 0 {
		return s.changed
	}
	return s.modified
}

// sums are the digests of one file.
type sums struct{ blake3, sha256 [32]byte }

// flight is a file that is being read, for all who want it.
type flight struct {
	done chan struct{} // closed when the rest is set
	sums sums
	err  error
}

// Hasher hashes files, and keeps the digests for as long as the files stay the
// same: device, inode, size and times, so one path to a file knows what another
// found out. Its methods may be called from several goroutines: a file that takes
// long is read once for all who ask for it, and keeps nobody else waiting. The
// zero value is ready.
type Hasher struct {
	// mu guards the maps; it is not held while a file is looked at or read.
	mu      sync.Mutex
	known   map[stamp]sums
	flights map[stamp]*flight

	reading func(path string) // for tests: a file is about to be read
}

// Hash returns the digests of the regular file at a path, which may lead through
// links. If the file is known, this takes one look at it. The error is the
// system's, and says the path.
func (h *Hasher) Hash(path string) (blake3, sha256 [32]byte, err error) {
	for range attempts {
		var s sums
		if s, err = h.hash(path); !errors.Is(err, errChanging) {
			return s.blake3, s.sha256, err
		}
	}
	return blake3, sha256, err
}

func (h *Hasher) hash(path string) (sums, error) {
	info, err := os.Stat(path)
	if err != nil {
		return sums{}, err
	}
	if !info.Mode().IsRegular() {
		return sums{}, &fs.PathError{Op: "hash", Path: path, Err: errors.New("it is not a regular file")}
	}
	state := stampOf(info)

	h.mu.Lock()
	if s, ok := h.known[state]; ok {
		h.mu.Unlock()
		return s, nil
	}
	f, underWay := h.flights[state]
	if !underWay {
		f = &flight{done: make(chan struct{}), err: fmt.Errorf("hash %s: it was not finished", path)}
		if h.flights == nil {
			h.flights, h.known = make(map[stamp]*flight), make(map[stamp]sums)
		}
		h.flights[state] = f
	}
	h.mu.Unlock()
	if underWay {
		<-f.done
		return f.sums, f.err
	}
	defer h.land(state, f)
	if h.reading != nil {
		h.reading(path)
	}
	f.sums, f.err = read(path, state)
	return f.sums, f.err
}

// land gives everybody the result of a flight, and keeps a good one.
func (h *Hasher) land(state stamp, f *flight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.flights, state)
	if f.err == nil && time.Now().UnixNano()-state.last() >= int64(settled) {
		for old := range h.known { // any: what is asked for again is read again
			if len(h.known) < capacity {
				break
			}
			delete(h.known, old)
		}
		h.known[state] = f.sums
	}
	close(f.done)
}

// read hashes the file that has a state, if it has it before and after.
func read(path string, want stamp) (sums, error) {
	// Without O_NONBLOCK, a pipe that took the file's place meanwhile would be waited for.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return sums{}, err
	}
	defer file.Close()
	if err := same(file, path, want); err != nil {
		return sums{}, err
	}
	b, s := blake3.New(32, nil), sha256.New()
	// The struct hides File's WriteTo, which would not use the buffer.
	if _, err := io.CopyBuffer(io.MultiWriter(b, s), struct{ io.Reader }{file}, make([]byte, chunk)); err != nil {
		return sums{}, err
	}
	var found sums
	b.Sum(found.blake3[:0])
	s.Sum(found.sha256[:0])
	return found, same(file, path, want)
}

// same says whether an open file has a state.
func same(file *os.File, path string, want stamp) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if stampOf(info) != want {
		return &fs.PathError{Op: "hash", Path: path, Err: errChanging}
	}
	return nil
}
