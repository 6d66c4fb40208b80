// SPDX-License-Identifier: Apache-2.0

package xpc

import (
	"fmt"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// Type is the tag of a value: an index shifted by 12, whose low bits are zero
// (section 2).
type Type uint32

// The types that are read and written. Any other tag is refused.
const (
	TypeNull         Type = 0x01000
	TypeBool         Type = 0x02000
	TypeInt64        Type = 0x03000
	TypeUint64       Type = 0x04000
	TypeDouble       Type = 0x05000
	TypeDate         Type = 0x07000
	TypeData         Type = 0x08000
	TypeString       Type = 0x09000
	TypeUUID         Type = 0x0a000
	TypeFD           Type = 0x0b000
	TypeShmem        Type = 0x0c000
	TypeMachSend     Type = 0x0d000
	TypeArray        Type = 0x0e000
	TypeDict         Type = 0x0f000
	TypeEndpoint     Type = 0x12000
	TypeMachRecv     Type = 0x15000
	TypeFileTransfer Type = 0x1a000
)

// String returns the name of the type in the reference.
func (t Type) String() string {
	switch t {
	case TypeNull:
		return "null"
	case TypeBool:
		return "bool"
	case TypeInt64:
		return "int64"
	case TypeUint64:
		return "uint64"
	case TypeDouble:
		return "double"
	case TypeDate:
		return "date"
	case TypeData:
		return "data"
	case TypeString:
		return "string"
	case TypeUUID:
		return "uuid"
	case TypeFD:
		return "fd"
	case TypeShmem:
		return "shmem"
	case TypeMachSend:
		return "mach_send"
	case TypeArray:
		return "array"
	case TypeDict:
		return "dictionary"
	case TypeEndpoint:
		return "endpoint"
	case TypeMachRecv:
		return "mach_recv"
	case TypeFileTransfer:
		return "file_transfer"
	}
	return fmt.Sprintf("tag %#05x", uint32(t))
}

// disposition returns how a right of that type is sent if nobody says otherwise
// (section 5); 0: the type carries none.
func (t Type) disposition() mach.Disposition {
	switch t {
	case TypeFD, TypeShmem:
		return mach.MoveSend
	case TypeMachSend, TypeEndpoint:
		return mach.CopySend
	case TypeMachRecv:
		return mach.MoveReceive
	}
	return 0
}

// Magic says what a payload is for (section 1).
type Magic uint32

// The magics.
const (
	MagicCurrent Magic = 0x40585043 // "CPX@", messages
	MagicOld     Magic = 0x58504321 // "!CPX", messages of the iOS 10.3 simulator
	MagicFile    Magic = 0x42133742 // standalone, not in messages
)

// String returns how the magic is called.
func (m Magic) String() string {
	switch m {
	case MagicCurrent:
		return "CPX@"
	case MagicOld:
		return "!CPX"
	case MagicFile:
		return "serialization"
	}
	return fmt.Sprintf("magic %#08x", uint32(m))
}

// ofMessages reports whether payloads of messages begin with the magic.
func (m Magic) ofMessages() bool { return m == MagicCurrent || m == MagicOld }
