// SPDX-License-Identifier: Apache-2.0

package mach

import "encoding/binary"

// MaxFds is how many file descriptors a packet can bring (section 12).
const MaxFds = 253

// Place is where a message arrives, which decides what its local port is.
type Place uint8

// The places.
const (
	OnControl Place = iota // the local port is a token
	OnPort                 // a local port other than 0 is the first file descriptor, the reply right
)

// frame checks the framing of section 4.2, which includes that the positions in
// descriptors run 1, 2, 3… and that exactly their file descriptors came. It
// returns how many descriptors there are and where what follows them begins.
func frame(packet []byte, fds int, place Place) (h Header, count, end int, err error) {
	if len(packet) < HeaderSize {
		return h, 0, 0, &FramingError{"the packet is shorter than 24 bytes"}
	}
	h = readHeader(packet)
	switch {
	case uint64(h.Size) != uint64(len(packet)):
		return h, 0, 0, &FramingError{"msgh_size is not the length of the packet"}
	case h.Bits&^knownBits != 0:
		return h, 0, 0, &FramingError{"reserved bits are set"}
	}
	next := Fd(1)
	if place == OnPort && h.Local != 0 {
		next++
	}
	end, more := HeaderSize, 0
	if h.Bits.Complex() {
		if count, end, more, next, err = table(packet, next); err != nil {
			return h, 0, 0, err
		}
	}
	// Out-of-line ports bring as many descriptors as are neither null nor dead, which only their memory tells.
	if carried := int(next) - 1; fds < carried || fds > carried+more {
		return h, 0, 0, &FramingError{"the file descriptors are not those that the message names"}
	}
	return h, count, end, nil
}

// table walks over the descriptors of a complex message, the first of whose file
// descriptors has position next. more is how many others may have come.
func table(packet []byte, next Fd) (count, end, more int, after Fd, err error) {
	if len(packet) < HeaderSize+4 {
		return 0, 0, 0, 0, &FramingError{"a complex message has no descriptor count"}
	}
	n, end := binary.LittleEndian.Uint32(packet[HeaderSize:]), HeaderSize+4
	if uint64(n)*portSize > uint64(len(packet)-end) {
		return 0, 0, 0, 0, &FramingError{"the message is shorter than its descriptors"}
	}
	for range n {
		d, size, bad := readDescriptor(packet[end:])
		switch {
		case size == 0:
			return 0, 0, 0, 0, &FramingError{"the message is shorter than its descriptors"}
		case bad:
			return 0, 0, 0, 0, &FramingError{"an address is not the position of a file descriptor"}
		case d.Fd.Carried() && (d.Fd != next || more > 0):
			return 0, 0, 0, 0, &FramingError{"the file descriptors are not named in order"}
		case d.Fd.Carried():
			next++
		}
		if d.Kind == PortsKind {
			more = int(min(d.Length, MaxFds))
		}
		end += size
	}
	return int(n), end, more, next, nil
}
