// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From linux/unix_diag.h and linux/sock_diag.h.
const (
	udiagShowPeer = 4
	unixDiagPeer  = 2
	established   = 1
)

type unixDiagReq struct {
	family, protocol uint8
	pad              uint16
	states           uint32
	ino              uint32
	show             uint32
	cookie           [2]uint32
}

type unixDiagMsg struct {
	family, typ, state, pad uint8
	ino                     uint32
	cookie                  [2]uint32
}

// Connected calls found with the cookie of every connected Unix stream socket of this network namespace whose other end
// is still open. One call costs about half a microsecond a socket of the machine.
func Connected(found func(cookie uint64)) error {
	nl, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(nl)
	var req struct {
		h unix.NlMsghdr
		r unixDiagReq
	}
	req.h.Len = uint32(unsafe.Sizeof(req))
	req.h.Type = unix.SOCK_DIAG_BY_FAMILY
	req.h.Flags = unix.NLM_F_REQUEST | unix.NLM_F_DUMP
	req.r = unixDiagReq{family: unix.AF_UNIX, states: 1 << established, show: udiagShowPeer}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&req)), unsafe.Sizeof(req))
	if err := unix.Sendto(nl, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	buf := make([]byte, 32768)
	for {
		n, _, err := unix.Recvfrom(nl, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		done, err := parseDiag(buf[:n], found)
		if done || err != nil {
			return err
		}
	}
}

func parseDiag(b []byte, found func(cookie uint64)) (done bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		h := (*unix.NlMsghdr)(unsafe.Pointer(&b[0]))
		if int(h.Len) < unix.SizeofNlMsghdr || int(h.Len) > len(b) {
			return true, fmt.Errorf("sock_diag: a message of %d bytes in %d", h.Len, len(b))
		}
		body := b[unix.SizeofNlMsghdr:h.Len]
		switch h.Type {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			if len(body) >= 4 {
				return true, os.NewSyscallError("sock_diag", unix.Errno(-*(*int32)(unsafe.Pointer(&body[0]))))
			}
			return true, fmt.Errorf("sock_diag: an error without a number")
		case unix.SOCK_DIAG_BY_FAMILY:
			if len(body) >= int(unsafe.Sizeof(unixDiagMsg{})) {
				m := (*unixDiagMsg)(unsafe.Pointer(&body[0]))
				if m.typ == unix.SOCK_STREAM && hasPeer(body[unsafe.Sizeof(unixDiagMsg{}):]) {
					found(uint64(m.cookie[0]) | uint64(m.cookie[1])<<32)
				}
			}
		}
		b = b[min(len(b), (int(h.Len)+3)&^3):]
	}
	return false, nil
}

// hasPeer looks for the attribute that names the other end's inode; 0 or none: it is closed.
func hasPeer(b []byte) bool {
	for len(b) >= unix.SizeofRtAttr {
		a := (*unix.RtAttr)(unsafe.Pointer(&b[0]))
		if int(a.Len) < unix.SizeofRtAttr || int(a.Len) > len(b) {
			return false
		}
		if a.Type == unixDiagPeer && a.Len >= unix.SizeofRtAttr+4 {
			return *(*uint32)(unsafe.Pointer(&b[unix.SizeofRtAttr])) != 0
		}
		b = b[min(len(b), (int(a.Len)+3)&^3):]
	}
	return false
}
