// SPDX-License-Identifier: Apache-2.0

package xpc

import "github.com/switchboard-ipc/switchboard/protocol/mach"

// Value is one of the types of this file, of [Dict], or of [Array] (section 2).
type Value interface {
	Type() Type
}

// The values that carry no right.
type (
	// Null is nothing.
	Null struct{}
	// Bool is true or false.
	Bool bool
	// Int64 is a number with a sign.
	Int64 int64
	// Uint64 is a number without one.
	Uint64 uint64
	// Double is a floating point number; NaNs keep their bits.
	Double float64
	// Date is a time in nanoseconds since 1970.
	Date int64
	// Data is any bytes.
	Data []byte
	// String is text in UTF-8, without NUL.
	String string
	// UUID is 16 bytes, as they are.
	UUID [16]byte
	// Array is values in their order.
	Array []Value
)

// The values that carry a right each. When they are read, Right is that of the
// message's descriptor. When they are written, Fd is whatever position the caller
// gives its file descriptors, and a Disposition of 0 is the usual one of the type.
type (
	// FD is a file.
	FD struct{ mach.Right }
	// Shmem is shared memory, Size bytes of it.
	Shmem struct {
		mach.Right
		Size uint64 // as declared: the caller compares it with the file's
	}
	// MachSend is the send end of a service.
	MachSend struct{ mach.Right }
	// Endpoint is the send end of a service that connections are made with.
	Endpoint struct{ mach.Right }
	// MachRecv is the receive end of a service.
	MachRecv struct{ mach.Right }
)

// FileTransfer announces a file of RemoteXPC: only there, so it takes
// Options.FileTransfers to read or write one.
type FileTransfer struct {
	ID   uint64
	Size uint64
}

// Type returns the tag of the value; so do those below.
func (Null) Type() Type         { return TypeNull }
func (Bool) Type() Type         { return TypeBool }
func (Int64) Type() Type        { return TypeInt64 }
func (Uint64) Type() Type       { return TypeUint64 }
func (Double) Type() Type       { return TypeDouble }
func (Date) Type() Type         { return TypeDate }
func (Data) Type() Type         { return TypeData }
func (String) Type() Type       { return TypeString }
func (UUID) Type() Type         { return TypeUUID }
func (Array) Type() Type        { return TypeArray }
func (Dict) Type() Type         { return TypeDict }
func (FD) Type() Type           { return TypeFD }
func (Shmem) Type() Type        { return TypeShmem }
func (MachSend) Type() Type     { return TypeMachSend }
func (Endpoint) Type() Type     { return TypeEndpoint }
func (MachRecv) Type() Type     { return TypeMachRecv }
func (FileTransfer) Type() Type { return TypeFileTransfer }
