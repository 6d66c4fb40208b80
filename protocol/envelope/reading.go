// SPDX-License-Identifier: Apache-2.0

package envelope

import "errors"

// What can be wrong with the envelope of a frame, with the texts of section 15.
var (
	ErrEnvelopeVersion = errors.New("envelope_version is not v1")
	ErrCompressed      = errors.New("payload is compressed")
)

var kindFaults = [...]error{
	Request:  errors.New("kind is not REQUEST"),
	Response: errors.New("kind is not RESPONSE"),
	Event:    errors.New("kind is not EVENT"),
}

var (
	errNotControl = errors.New("payload_protocol is not control-plane")
	errNotAdmin   = errors.New("payload_protocol is not admin")
	errNotProbe   = errors.New("payload_protocol is not endpoint probe")
	errNotHandoff = errors.New("payload_protocol is not handoff")
)

// checkEnvelope checks version, kind and protocol, in this order; the caller
// checks the encoding.
func checkEnvelope(f Frame, kind Kind, protocol uint32, other error) error {
	switch {
	case f.EnvelopeVersion != Version:
		return ErrEnvelopeVersion
	case f.Kind != kind:
		return kindFaults[kind]
	case f.PayloadProtocol != protocol:
		return other
	}
	return nil
}

func checkEncoding(f Frame) error {
	if f.PayloadEncoding != None {
		return ErrCompressed
	}
	return nil
}

// CheckReply reads the reply to a Hello, as a client does (section 15). A reply
// that is neither granted nor refused, and one without the address of a
// backend, are errors.
func CheckReply(f Frame) (HelloReply, error) {
	if err := checkEnvelope(f, Response, Control, errNotControl); err != nil {
		return HelloReply{}, err
	}
	if err := checkEncoding(f); err != nil {
		return HelloReply{}, err
	}
	m, err := ParseHelloReply(f.Payload)
	switch {
	case err != nil:
		return m, err
	case m.Negotiated == nil && m.Refused == nil:
		return m, errors.New("HelloReply has no result")
	case m.Negotiated != nil && m.Negotiated.BackendPipe == "":
		return m, errors.New("Negotiated has no backend_pipe")
	}
	return m, nil
}

// CheckAdminReply reads the reply to an AdminRequest, as a client does.
func CheckAdminReply(f Frame) (AdminReply, error) {
	if err := checkEnvelope(f, Response, Admin, errNotAdmin); err != nil {
		return AdminReply{}, err
	}
	if err := checkEncoding(f); err != nil {
		return AdminReply{}, err
	}
	return ParseAdminReply(f.Payload)
}
