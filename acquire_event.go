// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"errors"
	"fmt"

	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// ErrNetworkStopped is in the error of a lease, or of a [Networks], whose service said that it ends on purpose, such as for an upgrade.
var ErrNetworkStopped = errors.New("the network service was stopped")

// ErrInterfaceEnded is in the error of a lease whose interface the service has closed, for a fault of who used it.
var ErrInterfaceEnded = errors.New("the network service has closed the interface")

// goneError says how the connection to the network service ended. All of them are hang-ups.
type goneError struct{ err error }

func (e *goneError) Error() string        { return e.err.Error() }
func (e *goneError) Unwrap() error        { return e.err }
func (e *goneError) Is(target error) bool { return target == errHungUp }

var (
	// errServiceEnded: nobody said why.
	errServiceEnded = &networkFault{NetworkFailure, &goneError{errors.New("it ended, or closed the connection")}}
	// errServiceStopped: it said so.
	errServiceStopped = &networkFault{NetworkFailure, &goneError{ErrNetworkStopped}}
)

// event takes what the service tells of its own accord. Events that are not known are nothing.
func (n *networkConn) event(root xpc.Dict) {
	e, err := vmnet.ParseEvent(root)
	if err != nil {
		return
	}
	switch e.Name {
	case vmnet.Ending:
		n.mu.Lock()
		n.stopped = true
		n.mu.Unlock()
	case vmnet.InterfaceEnded:
		n.end(&networkFault{NetworkFailure, fmt.Errorf("%w: %s", ErrInterfaceEnded, e.Reason)})
	case vmnet.ForwardEnded:
		select {
		case n.events <- e:
		default: // there cannot be more of them than forwards
		}
	}
}
