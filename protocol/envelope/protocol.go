// SPDX-License-Identifier: Apache-2.0

package envelope

// Limits and constants of the protocol (section 2).
const (
	Version    = 1        // the framing byte, and Frame.EnvelopeVersion
	HeaderSize = 5        // bytes in front of a frame's body
	MaxBody    = 16 << 20 // bytes of a body; as many are allowed
	MaxHello   = 64 << 10 // bytes of the body of a frame that carries a Hello
)

// Payload protocols: what a Frame.Payload is (section 3).
const (
	Control uint32 = 0x0000 // Hello, HelloReply
	Admin   uint32 = 0xAD01 // AdminRequest, AdminReply
	Probe   uint32 = 0xB232 // a nonce; a nonce and a DaemonProcess
	Handoff uint32 = 0xD0FF // HandoffOffer, HandoffAck
	Stdio   uint32 = 0x5350 // SessionFrame, of version 2
)

// Lane is what a payload protocol is for.
type Lane uint8

// The lanes of section 3.
const (
	Reserved           Lane = iota // nobody's yet; Stdio is here, as in the original's registry
	FirstParty                     // Control, Admin, Probe, Handoff
	RegisteredConsumer             // 0x7000 to 0x7EFF: opaque, between a client and its backend
	PrivateUse                     // 0xF000 to 0xFFFF: opaque
)

// Classify returns the lane of a payload protocol.
func Classify(protocol uint32) Lane {
	switch {
	case protocol == Control, protocol == Admin, protocol == Probe, protocol == Handoff:
		return FirstParty
	case protocol >= 0x7000 && protocol <= 0x7EFF:
		return RegisteredConsumer
	case protocol >= 0xF000 && protocol <= 0xFFFF:
		return PrivateUse
	}
	return Reserved
}
