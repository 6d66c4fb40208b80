// SPDX-License-Identifier: Apache-2.0

package mach

// Op is what a request asks for, in whichever dialect (section 2).
type Op uint8

// The operations.
const (
	OpCheckIn Op = iota + 1
	OpRegister
	OpLookUp
	OpLookUpArray
	OpParent
	OpSubset
	OpSpawn
	OpCreateServer
	OpUnprivileged
	OpStatus
	OpInfo
	OpCreateService
	OpReboot
	OpSendSignal
	OpTakeSubset
	OpKickstart
	OpLookUpChildren
	OpGetRoot
	OpConnect
	OpNotify
)

var opNames = [...]string{
	OpCheckIn: "check_in", OpRegister: "register", OpLookUp: "look_up", OpLookUpArray: "look_up_array",
	OpParent: "parent", OpSubset: "subset", OpSpawn: "spawn", OpCreateServer: "create_server",
	OpUnprivileged: "unprivileged", OpStatus: "status", OpInfo: "info", OpCreateService: "create_service",
	OpReboot: "reboot2", OpSendSignal: "send_signal", OpTakeSubset: "take_subset", OpKickstart: "kickstart",
	OpLookUpChildren: "lookup_children", OpGetRoot: "get_root",
	OpConnect: "connect", OpNotify: "notify",
}

// String returns the name, such as check_in.
func (op Op) String() string {
	if int(op) < len(opNames) && opNames[op] != "" {
		return opNames[op]
	}
	return "none"
}

// Unserved returns the code that answers an operation which is understood but has
// no implementation, and OK for those that have one.
func (op Op) Unserved() Code {
	switch op {
	case OpReboot, OpSendSignal, OpKickstart, OpCreateServer:
		return NotPrivileged
	case OpTakeSubset:
		return NotSupported
	}
	return OK
}

// descriptors returns how many a complex request has.
func (op Op) descriptors() int {
	if op == OpNotify {
		return 2
	}
	return 1
}

// Disposition returns that of the right in a port reply (section 3); 0: it has none.
func (op Op) Disposition() Disposition {
	switch op {
	case OpCheckIn:
		return MoveReceive
	case OpLookUp, OpCreateService:
		return CopySend
	case OpSubset, OpParent, OpUnprivileged:
		return MakeSend
	case OpGetRoot:
		return MoveSend
	}
	return 0
}

// Dialect is which generation of the protocol a request is of (section 2).
type Dialect uint8

// The dialects.
const (
	Seed      Dialect = iota + 1 // section 2.1
	Custom                       // 700 to 702 of section 2.1, and what Switchboard adds
	Canonical                    // sections 2.2 and 2.3
)

// String returns the name, such as seed.
func (d Dialect) String() string {
	switch d {
	case Seed:
		return "seed"
	case Custom:
		return "custom"
	case Canonical:
		return "canonical"
	}
	return "none"
}

// Flags are those of the "…2" routines (section 2.3).
type Flags uint64

// The flags.
const (
	PerPID           Flags = 1
	AllowLookup      Flags = 2
	DenyJobCreation  Flags = 4
	PrivilegedServer Flags = 8
	ForceLocal       Flags = 16
	SpecificInstance Flags = 32
	StrictCheckIn    Flags = 64
	StrictLookup     Flags = 128
)
