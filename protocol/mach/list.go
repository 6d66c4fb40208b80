// SPDX-License-Identifier: Apache-2.0

package mach

import "encoding/binary"

// What the out-of-line memory of LookUpArray and Info holds. Read it only from a memfd that is sealed.

// AppendNames appends a field of NameSize bytes for each name to b. One that is longer than 127 bytes is cut there.
func AppendNames(b []byte, names ...string) []byte {
	for _, name := range names {
		var field [NameSize]byte
		copy(field[:NameSize-1], name)
		b = append(b, field[:]...)
	}
	return b
}

// ParseNames reads count names, which are all that b holds. They may be anything without a NUL, also empty: whether
// one can be a name is the caller's to say. The error is a [*Fault] with BadArguments.
func ParseNames(b []byte, count uint32) ([]string, error) {
	if uint64(len(b)) != uint64(count)*NameSize {
		return nil, &Fault{Code: BadArguments, Why: "the memory does not hold that many names"}
	}
	names := make([]string, count)
	c := codec{b: b}
	for i := range names {
		c.text(&names[i], NameSize)
	}
	if c.code != OK {
		return nil, &Fault{Code: c.code, Why: c.why}
	}
	return names, nil
}

// AppendStates appends what Status would answer for each service, 4 bytes each: 0 inactive, 1 active, 2 on demand.
func AppendStates(b []byte, states ...int32) []byte {
	for _, state := range states {
		b = binary.LittleEndian.AppendUint32(b, uint32(state))
	}
	return b
}

// ParseStates reads count states, which are all that b holds. The error is a [*Fault] with BadArguments.
func ParseStates(b []byte, count uint32) ([]int32, error) {
	if uint64(len(b)) != uint64(count)*4 {
		return nil, &Fault{Code: BadArguments, Why: "the memory does not hold that many states"}
	}
	states := make([]int32, count)
	for i := range states {
		states[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return states, nil
}

// AppendPorts appends the positions of ports, 4 bytes each: the memory of an ArrayReply, and of PortsKind in messages.
func AppendPorts(b []byte, ports ...Fd) []byte {
	for _, fd := range ports {
		b = binary.LittleEndian.AppendUint32(b, uint32(fd))
	}
	return b
}

// ParsePorts reads the positions of count ports, which are all that b holds. Those that are carried must be first,
// first + 1 … up to last, the position of the packet's last file descriptor. The error is a [*Fault] with BadArguments.
func ParsePorts(b []byte, count uint32, first, last Fd) ([]Fd, error) {
	if uint64(len(b)) != uint64(count)*4 {
		return nil, &Fault{Code: BadArguments, Why: "the memory does not hold that many ports"}
	}
	ports := make([]Fd, count)
	next := first
	for i := range ports {
		fd := Fd(binary.LittleEndian.Uint32(b[4*i:]))
		if fd.Carried() {
			if fd != next {
				return nil, &Fault{Code: BadArguments, Why: "the ports are not named in order"}
			}
			next++
		}
		ports[i] = fd
	}
	if next != last+1 {
		return nil, &Fault{Code: BadArguments, Why: "the file descriptors are not those of the ports"}
	}
	return ports, nil
}
