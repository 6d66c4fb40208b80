// SPDX-License-Identifier: Apache-2.0

package sys

// MaxFDs is the number of descriptors that one message can carry (SCM_MAX_FD of the kernel).
const MaxFDs = 253

// Cred is a peer as the kernel names it: ids as seen from this process' namespaces.
type Cred struct {
	PID      int
	UID, GID int
}

// Message is what one Recv brought beside its bytes.
type Message struct {
	FDs              []int // owned by the receiver; valid until the next Recv on the same Buffer
	Cred             Cred  // of the sender, if HasCred (SO_PASSCRED was on)
	HasCred          bool
	PIDFD            int  // of the sender, owned by the receiver; -1 if none came
	HasControl       bool // some control message came: tells an empty packet from a hang-up where SO_PASSCRED is on
	Truncated        bool // the packet was longer than the buffer
	ControlTruncated bool // descriptors were lost: too many, or this process has none left
}

// Close closes every descriptor of m that was not taken out of it.
func (m *Message) Close() {
	CloseAll(m.FDs)
	m.FDs = m.FDs[:0]
	if m.PIDFD >= 0 {
		CloseAll([]int{m.PIDFD})
		m.PIDFD = -1
	}
}
