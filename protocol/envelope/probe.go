// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes of what is in a probe, in bytes (section 9).
const (
	NonceSize   = 32
	ExeHashSize = 32
)

// HashAlgorithm is what DaemonProcess.ExeHashAlgorithm is to be.
const HashAlgorithm = "blake3"

// legacySHA256 is the tag and length of an old field of DaemonProcess's.
const legacySHA256 = "\x1a\x20"

// MismatchError names the first field of a DaemonProcess that is not as
// expected: pid, exe_path, exe_hash, boot_id or ipc_endpoint.
type MismatchError struct{ Field string }

func (e *MismatchError) Error() string { return "daemon process has another " + e.Field }

// ProbeRequest returns the frame that asks a backend who it is.
func ProbeRequest(nonce [NonceSize]byte) Frame {
	return Frame{
		EnvelopeVersion: Version, PayloadProtocol: Probe, Payload: nonce[:],
		RequestID: binary.LittleEndian.Uint64(nonce[:]),
	}
}

// ProbeReply returns a backend's answer: its identity, and the SHA-256 of its
// executable for readers that know no other.
func ProbeReply(request Frame, d DaemonProcess, sha256 [32]byte) (Frame, error) {
	if err := checkEnvelope(request, Request, Probe, errNotProbe); err != nil {
		return Frame{}, err
	}
	if err := checkEncoding(request); err != nil {
		return Frame{}, err
	}
	if len(request.Payload) != NonceSize {
		return Frame{}, fmt.Errorf("nonce must be %d bytes", NonceSize)
	}
	payload := d.Append(bytes.Clone(request.Payload))
	payload = append(append(payload, legacySHA256...), sha256[:]...)
	return request.Reply(Probe, payload), nil
}

// CheckProbeReply checks the answer to ProbeRequest(nonce), in the order of
// section 9. The error is a *MismatchError if it comes from another process
// than want; start time and idle timeout are not compared.
func CheckProbeReply(reply Frame, nonce [NonceSize]byte, want DaemonProcess) error {
	got, err := ParseProbeReply(reply, nonce)
	if err != nil {
		return err
	}
	switch {
	case got.PID != want.PID:
		return &MismatchError{"pid"}
	case got.ExePath != want.ExePath:
		return &MismatchError{"exe_path"}
	case !bytes.Equal(got.ExeHash, want.ExeHash):
		return &MismatchError{"exe_hash"}
	case got.BootID != want.BootID:
		return &MismatchError{"boot_id"}
	case want.IPCEndpoint == nil || *got.IPCEndpoint != *want.IPCEndpoint:
		return &MismatchError{"ipc_endpoint"}
	}
	return nil
}

// ParseProbeReply reads the answer to ProbeRequest(nonce), and checks that it
// is complete; its IPCEndpoint is not nil.
func ParseProbeReply(reply Frame, nonce [NonceSize]byte) (DaemonProcess, error) {
	if err := checkEnvelope(reply, Response, Probe, errNotProbe); err != nil {
		return DaemonProcess{}, err
	}
	if reply.RequestID != binary.LittleEndian.Uint64(nonce[:]) {
		return DaemonProcess{}, errors.New("request_id does not match endpoint probe request")
	}
	if err := checkEncoding(reply); err != nil {
		return DaemonProcess{}, err
	}
	if len(reply.Payload) < NonceSize {
		return DaemonProcess{}, errors.New("payload shorter than nonce")
	}
	if [NonceSize]byte(reply.Payload) != nonce {
		return DaemonProcess{}, errors.New("nonce does not match endpoint probe request")
	}
	d, err := ParseDaemonProcess(reply.Payload[NonceSize:])
	switch {
	case err != nil:
		return d, err
	case d.IPCEndpoint == nil:
		return d, errors.New("daemon process is missing ipc_endpoint")
	case d.ExeHashAlgorithm != HashAlgorithm:
		return d, fmt.Errorf("unsupported daemon executable hash algorithm %s; expected %s", quote(d.ExeHashAlgorithm), HashAlgorithm)
	case len(d.ExeHash) != ExeHashSize:
		return d, fmt.Errorf("daemon process exe_hash must be %d bytes, got %d", ExeHashSize, len(d.ExeHash))
	}
	return d, nil
}

// CheckServed checks that a backend that serves these consumer protocols may
// get a frame of that protocol: one of them, or Probe (section 9).
func CheckServed(protocol uint32, served ...uint32) error {
	switch {
	case protocol == Probe:
		return nil
	case Classify(protocol) == FirstParty:
		return fmt.Errorf("unexpected first-party frame on backend endpoint (payload_protocol 0x%04X)", protocol)
	}
	for _, p := range served {
		if p == protocol {
			return nil
		}
	}
	return fmt.Errorf("frame for unserved payload protocol 0x%04X", protocol)
}
