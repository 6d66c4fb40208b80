// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// door is an inherited way to the broker (docs/session.md, section 6). Its one use is to connect.
type door struct {
	fd  int   // not ours to close: children inherit it too
	err error // why it is no door
}

func newDoor(number string) *door {
	fd, err := strconv.Atoi(number)
	if err == nil && fd >= 0 {
		_, err = sys.CheckSocket(fd, sys.Seqpacket)
	} else {
		err = errors.New("it is not the number of a descriptor")
	}
	switch {
	case errors.Is(err, errors.ErrUnsupported):
	case err != nil:
		err = &Error{Code: CodeUsage, Op: "reach the broker through " + EnvSessionFD, Name: number,
			Text: fmt.Sprintf("%v: it was closed, or not passed on to this program; unset the variable to use the runtime folder", err)}
	}
	return &door{fd: fd, err: err}
}

// connect makes a pair, sends one end through the door and returns the other. With passCred, credentials come with
// what is read from it.
func (d *door) connect(t sys.SocketType, passCred bool) (*sys.FD, error) {
	if d.err != nil {
		return nil, d.err
	}
	ours, theirs, err := sys.Pair(t)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	if passCred {
		err = sys.SetPassCred(ours.Int(), true)
	}
	if err == nil {
		var room [session.HeaderSize]byte
		packet := session.Header{Kind: session.KindOneWay, Op: session.OpConnect, Descriptors: 1}.Append(room[:0])
		_, err = sys.Send(d.fd, packet, theirs.Int())
	}
	if err == nil {
		return ours, nil
	}
	ours.Close()
	return nil, d.explained(err)
}

// explained makes an error of sending through the door one for people.
func (d *door) explained(err error) error {
	switch {
	case errors.Is(err, errHungUp), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return &Error{Code: CodeUnavailable, // it does not pass
			Text: "the door that this program was given (" + EnvSessionFD + ") is closed: who gave it, or its namespace, has ended"}
	case errors.Is(err, syscall.EBADF), errors.Is(err, syscall.ENOTSOCK):
		return newDoor(strconv.Itoa(d.fd)).err
	}
	return err
}
