// SPDX-License-Identifier: Apache-2.0

package envelope

import "slices"

// CheckControl checks the envelope of a Hello: B1 to B4 of section 5. It
// returns nil if there is nothing to refuse.
func CheckControl(f Frame) *Refusal {
	switch {
	case f.EnvelopeVersion != Version:
		return &RefusedEnvelopeVersion
	case f.Kind != Request:
		return &RefusedKind
	case f.PayloadProtocol != Control:
		return &RefusedProtocol
	case f.PayloadEncoding != None:
		return &RefusedCompressed
	}
	return nil
}

// ParseControl checks the envelope and reads the Hello in it: B1 to B5.
func ParseControl(f Frame) (Hello, *Refusal) {
	if r := CheckControl(f); r != nil {
		return Hello{}, r
	}
	h, err := ParseHello(f.Payload)
	if err != nil {
		return Hello{}, &RefusedMalformedHello
	}
	return h, nil
}

// CheckHello checks what is in a Hello: B6 to B11. kernelPID is the process
// that the kernel says has sent it; 0: it does not say.
func CheckHello(h Hello, kernelPID uint32) *Refusal {
	switch {
	case h.ClientMinProtocol > Version || h.ClientMaxProtocol < Version:
		return &RefusedProtocolRange
	case !ValidName(h.ServiceName):
		return &RefusedServiceName
	case len(h.WantedVersion) > MaxVersion || !ValidVersion(h.WantedVersion):
		return &RefusedWantedVersion
	case len(h.ClientVersion) > MaxClientVersion:
		return &RefusedClientVersion
	case len(h.ClientLibName) > MaxClientLib || len(h.ClientLibVersion) > MaxClientLib:
		return &RefusedClientLib
	case h.PeerPID != 0 && kernelPID != 0 && h.PeerPID != kernelPID:
		return &RefusedPeerPID
	}
	return nil
}

// Limits of a Hello's fields, in bytes (B8 to B10).
const (
	MaxVersion       = 64
	MaxClientVersion = 128
	MaxClientLib     = 64
)

// CheckPolicy checks the version wanted of a service: B14 and B15.
func CheckPolicy(d ServiceDefinition, wanted string) *Refusal {
	switch {
	case d.MinVersion != "" && !AtLeast(wanted, d.MinVersion):
		return &RefusedBelowFloor
	case len(d.VersionAllowList) > 0 && !slices.Contains(d.VersionAllowList, wanted):
		return &RefusedNotAllowed
	}
	return nil
}

// SessionTokenSize is how long a session token is: 16 bytes of the broker's and
// 16 of the backend's.
const SessionTokenSize = 32

// CheckSessionToken checks a token of Hello.AuthToken (C2): its first half is to
// be the broker's, then its second that of the backend; nil: there is no backend.
func CheckSessionToken(token []byte, broker [16]byte, backend *[16]byte) *Refusal {
	switch {
	case len(token) != SessionTokenSize:
		return &RefusedTokenLength
	case [16]byte(token) != broker:
		return &RefusedTokenBroker
	case backend == nil:
		return &RefusedTokenUnknown
	case [16]byte(token[16:]) != *backend:
		return &RefusedTokenDaemon
	}
	return nil
}
