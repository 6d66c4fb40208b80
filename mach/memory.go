// SPDX-License-Identifier: Apache-2.0

package mach

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// Memory is out-of-line memory: what is too long for a message, in a sealed memfd. It can change no more, so its bytes may be trusted
// to stay as they are, and who got it may keep it.
type Memory struct {
	length int

	mu     sync.Mutex // guards what follows
	fd     *sys.FD    // nil: it is empty
	mapped []byte
	moving bool
	gone   error
}

// NewMemory makes memory that holds a copy of data, which has less than 4 GiB.
func NewMemory(data []byte) (*Memory, error) {
	if uint64(len(data)) > math.MaxUint32 {
		return nil, &Error{Code: InvalidArgument, Op: "make memory", Text: "a message can have 4 GiB at most"}
	}
	if len(data) == 0 {
		return &Memory{}, nil
	}
	fd, err := sys.SealedMemory("mach", data)
	if err != nil {
		return nil, during("make memory", "", err)
	}
	return &Memory{length: len(data), fd: fd}, nil
}

// Len returns how many bytes there are. Look at it before reading what somebody else sent.
func (m *Memory) Len() int { return m.length }

// Bytes returns a copy of it all.
func (m *Memory) Bytes() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.gone != nil:
		return nil, during("read memory", "", m.gone)
	case m.length == 0:
		return nil, nil
	}
	b, err := sys.ReadSealed(m.fd.Int(), m.length)
	return b, during("read memory", "", err)
}

// Map returns the bytes themselves, which may be read, not written, and only until Close. Memory that was sent stays mapped until Close.
func (m *Memory) Map() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.mapped != nil:
		return m.mapped, nil
	case m.gone != nil:
		return nil, during("map memory", "", m.gone)
	case m.length == 0:
		return nil, nil
	}
	b, err := sys.MapSealed(m.fd.Int(), m.length)
	if err != nil {
		return nil, during("map memory", "", err)
	}
	m.mapped = b
	return b, nil
}

// Copy returns another one of the same memory.
func (m *Memory) Copy() (*Memory, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.gone != nil:
		return nil, during("copy memory", "", m.gone)
	case m.fd == nil:
		return &Memory{}, nil
	}
	fd, err := sys.Dup(m.fd.Int())
	if err != nil {
		return nil, during("copy memory", "", err)
	}
	return &Memory{length: m.length, fd: fd}, nil
}

// Close gives the memory up, and ends what Map returned.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone == nil {
		m.gone = ErrClosed
	}
	if !m.moving {
		m.fd.Close()
	}
	if m.mapped == nil {
		return nil
	}
	b := m.mapped
	m.mapped = nil
	return sys.Unmap(b)
}

// reserve returns the number, or -1 of empty memory, for who is about to give it away.
func (m *Memory) reserve() (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.gone != nil:
		return -1, m.gone
	case m.moving:
		return -1, fmt.Errorf("%w: it is being sent in a message, or is in this one twice", ErrClosed)
	}
	m.moving = true
	return m.fd.Int(), nil
}

// settle ends what reserve began.
func (m *Memory) settle(given bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moving = false
	if given && m.gone == nil {
		m.gone = errMoved
	}
	if m.gone != nil {
		m.fd.Close()
	}
}

// checkMemory says what is wrong with memory of that many bytes that somebody sent; fd is -1 if none came.
func checkMemory(fd int, length uint32) error {
	if fd < 0 {
		if length > 0 {
			return errors.New("there is no memory")
		}
		return nil
	}
	size, err := sys.SealedSize(fd)
	if err == nil && size < int64(length) {
		err = fmt.Errorf("the memory has %d bytes, and %d were announced", size, length)
	}
	return err
}
