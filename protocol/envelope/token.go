// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"errors"
	"fmt"
)

// Numbers of handoff tokens (section 10).
const (
	TokenSize        = 16     // bytes
	TokenTTL         = 30_000 // milliseconds
	TokenAckDeadline = 5_000  // milliseconds, from registration
	TokenLimit       = 1024   // pending ones
	tokenTries       = 16
)

// What can be wrong with a token.
var (
	ErrTokenMissing    = errors.New("handoff token is missing")
	ErrTokenMismatch   = errors.New("handoff token mismatch")
	ErrTokenExpired    = errors.New("handoff token expired")
	ErrTokenNotPending = errors.New("handoff token is not pending")
	ErrAckNotPending   = errors.New("handoff ACK token is not pending")
	ErrAckDeadline     = errors.New("handoff ACK deadline exceeded")
	ErrTokensFull      = errors.New("too many handoff tokens are pending")
	ErrTokenCollision  = errors.New("no unused handoff token was found")
)

// TokenLengthError means that a token is not TokenSize bytes long.
type TokenLengthError struct{ Length int }

func (e *TokenLengthError) Error() string {
	return fmt.Sprintf("handoff token length was %d bytes; expected %d", e.Length, TokenSize)
}

func checkToken(want [TokenSize]byte, got []byte) error {
	switch {
	case len(got) == 0:
		return ErrTokenMissing
	case len(got) != TokenSize:
		return &TokenLengthError{len(got)}
	case [TokenSize]byte(got) != want:
		return ErrTokenMismatch
	}
	return nil
}

// Tokens are the tokens that have been issued and neither used nor given up: a
// state machine, of one goroutine at a time. Times are milliseconds of a clock
// that does not go back. The zero value is ready.
type Tokens struct {
	pending map[[TokenSize]byte]pendingToken
}

type pendingToken struct {
	expires  uint64
	deadline uint64 // of the acknowledgement; 0: it was not registered
}

// over reports whether the token cannot be used any more.
func (t pendingToken) over(now uint64) bool {
	return now >= t.expires || t.deadline != 0 && now >= t.deadline
}

// Len returns how many tokens are pending.
func (t *Tokens) Len() int { return len(t.pending) }

// Issue takes a token of random's that is not pending. Errors: ErrTokensFull,
// ErrTokenCollision, and random's.
func (t *Tokens) Issue(random func() ([TokenSize]byte, error), now uint64) ([TokenSize]byte, error) {
	var token [TokenSize]byte
	if len(t.pending) >= TokenLimit && t.Expire(now) == 0 {
		return token, ErrTokensFull
	}
	for range tokenTries {
		token, err := random()
		if err != nil {
			return token, err
		}
		if _, used := t.pending[token]; used || token == [TokenSize]byte{} {
			continue
		}
		if t.pending == nil {
			t.pending = make(map[[TokenSize]byte]pendingToken)
		}
		t.pending[token] = pendingToken{expires: now + TokenTTL}
		return token, nil
	}
	return token, ErrTokenCollision
}

// Consume uses up the token want, which was presented as got. A mismatch
// leaves it as it is. Errors: ErrTokenMissing, *TokenLengthError,
// ErrTokenMismatch, ErrTokenNotPending, ErrTokenExpired.
func (t *Tokens) Consume(want [TokenSize]byte, got []byte, now uint64) error {
	if err := checkToken(want, got); err != nil {
		return err
	}
	token, ok := t.pending[want]
	if !ok {
		return ErrTokenNotPending
	}
	delete(t.pending, want)
	if now >= token.expires {
		return ErrTokenExpired
	}
	return nil
}

// Register notes that the offer with that token has been sent: it is to be
// acknowledged by TokenAckDeadline. Errors: ErrTokenNotPending, ErrTokenExpired.
func (t *Tokens) Register(token [TokenSize]byte, now uint64) error {
	p, ok := t.pending[token]
	if !ok {
		return ErrTokenNotPending
	}
	if now >= p.expires {
		delete(t.pending, token)
		return ErrTokenExpired
	}
	p.deadline = now + TokenAckDeadline
	t.pending[token] = p
	return nil
}

// Acknowledge uses up a token that was registered. A mismatch leaves it as it
// is; an acknowledgement that is late revokes it. Errors: ErrTokenMissing,
// *TokenLengthError, ErrTokenMismatch, ErrAckNotPending, ErrAckDeadline.
func (t *Tokens) Acknowledge(want [TokenSize]byte, got []byte, now uint64) error {
	if err := checkToken(want, got); err != nil {
		return err
	}
	token, ok := t.pending[want]
	if !ok || token.deadline == 0 {
		return ErrAckNotPending
	}
	delete(t.pending, want)
	if token.over(now) {
		return ErrAckDeadline
	}
	return nil
}

// Abandon revokes a token, and reports whether it was pending.
func (t *Tokens) Abandon(token [TokenSize]byte) bool {
	_, ok := t.pending[token]
	delete(t.pending, token)
	return ok
}

// Expire revokes the tokens whose time is over, and returns how many.
func (t *Tokens) Expire(now uint64) (n int) {
	for token, p := range t.pending {
		if p.over(now) {
			delete(t.pending, token)
			n++
		}
	}
	return n
}
