// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"errors"
	"fmt"
)

// ErrTokenEcho means that a HandoffAck names another token.
var ErrTokenEcho = errors.New("HandoffAck token echo does not match the offered token")

// RejectedError means that a backend did not take a connection; it is the
// broker's still (section 10).
type RejectedError struct{ Detail string }

func (e *RejectedError) Error() string { return "handoff was rejected: " + e.Detail }

// CheckOffer reads the frame with an offer, as a backend does. The token is
// checked by HandoffOffer.CheckToken.
func CheckOffer(f Frame) (HandoffOffer, error) {
	if err := checkEnvelope(f, Request, Handoff, errNotHandoff); err != nil {
		return HandoffOffer{}, err
	}
	if err := checkEncoding(f); err != nil {
		return HandoffOffer{}, err
	}
	m, err := ParseHandoffOffer(f.Payload)
	if err == nil && m.CorrelationID != f.RequestID {
		err = errors.New("frame request_id does not match HandoffOffer correlation_id")
	}
	return m, err
}

// CheckToken compares the offer's token with the one that is expected. Errors:
// ErrTokenMissing, *TokenLengthError, ErrTokenMismatch.
func (m HandoffOffer) CheckToken(want [TokenSize]byte) error { return checkToken(want, m.Token) }

// Ack returns the backend's answer to an offer: that the connection is taken,
// or why it is not.
func (m HandoffOffer) Ack(why error) HandoffAck {
	ack := HandoffAck{Token: m.Token, Accepted: why == nil, CorrelationID: m.CorrelationID}
	if why != nil {
		ack.ErrorDetail = why.Error()
	}
	return ack
}

// CheckAck reads the frame with the answer to an offer, as a broker does, in
// the order of section 10. After a *RejectedError the connection is the
// broker's, after any other it may be the backend's.
func CheckAck(f Frame, offer HandoffOffer) (HandoffAck, error) {
	err := checkEnvelope(f, Response, Handoff, errNotHandoff)
	if err == nil {
		err = checkEncoding(f)
	}
	if err != nil {
		return HandoffAck{}, fmt.Errorf("unexpected HandoffAck frame: %w", err)
	}
	m, err := ParseHandoffAck(f.Payload)
	switch {
	case err != nil:
		return m, err
	case f.RequestID != offer.CorrelationID:
		return m, fmt.Errorf("HandoffAck request id %d does not match offer correlation id %d", f.RequestID, offer.CorrelationID)
	case m.CorrelationID != offer.CorrelationID:
		return m, fmt.Errorf("HandoffAck correlation id %d does not match offer correlation id %d", m.CorrelationID, offer.CorrelationID)
	case string(m.Token) != string(offer.Token):
		return m, ErrTokenEcho
	case !m.Accepted:
		return m, &RejectedError{m.ErrorDetail}
	}
	return m, nil
}

// CheckReady reads the event by which a client learns that its connection is
// the backend's now. After any error the client connects to backend_pipe.
func CheckReady(f Frame, token []byte) error {
	if err := checkEnvelope(f, Event, Handoff, errNotHandoff); err != nil {
		return err
	}
	if err := checkEncoding(f); err != nil {
		return err
	}
	m, err := ParseHandoffAck(f.Payload)
	switch {
	case err != nil:
		return err
	case string(m.Token) != string(token):
		return ErrTokenEcho
	case !m.Accepted:
		return &RejectedError{m.ErrorDetail}
	}
	return nil
}
