// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
)

// NetworkCode is why the network service did not do what it was asked, as vmnet-broker numbers it. Others than these may come.
type NetworkCode int64

// The codes.
const (
	NetworkFailure        NetworkCode = 1 // the service cannot be reached, or ended before it answered
	NetworkInvalidReply   NetworkCode = 2 // what it answered is no answer
	NetworkNotAllowed     NetworkCode = 3 // the network's file does not allow this user
	NetworkInvalidRequest NetworkCode = 4 // it does not know the command, or what came with it
	NetworkNotFound       NetworkCode = 5 // there is no network, guest or lease of that name, or the network's file is faulty
	NetworkCreateFailure  NetworkCode = 6 // the network, or the interface on it, cannot be made
	NetworkInternalError  NetworkCode = 7 // too many networks on one connection, and all else
)

// Error returns what the code means.
func (n NetworkCode) Error() string {
	switch n {
	case NetworkFailure:
		return "the network service did not answer"
	case NetworkInvalidReply:
		return "the network service's answer makes no sense"
	case NetworkNotAllowed:
		return "not allowed"
	case NetworkInvalidRequest:
		return "invalid request"
	case NetworkNotFound:
		return "not found"
	case NetworkCreateFailure:
		return "cannot be made"
	case NetworkInternalError:
		return "internal error"
	}
	return fmt.Sprintf("network error %d", int64(n))
}

// code is the exit code that a NetworkCode becomes.
func (n NetworkCode) code() Code {
	switch n {
	case NetworkNotAllowed:
		return CodeNotAllowed
	case NetworkInvalidRequest:
		return CodeUsage
	case NetworkFailure, NetworkInternalError:
		return CodeTryAgain
	}
	return CodeUnavailable
}

const networkLogs = "switchboard logs " + NetworkService

// text says what a code means for what was done, and what to do about it. why is what the service said, or nil.
func (n NetworkCode) text(op string, why error) string {
	toGuest := op == opForward || op == opDial
	if why != nil {
		switch {
		case errors.Is(why, ErrNetworkStopped), errors.Is(why, ErrInterfaceEnded):
			return why.Error()
		case n == NetworkFailure:
			return fmt.Sprintf("the network service did not answer: %v; %s may say why", why, networkLogs)
		case n == NetworkInvalidReply:
			return fmt.Sprintf("%s (%v)", n.text(op, nil), why)
		case n == NetworkNotFound && toGuest:
			return fmt.Sprintf("%v; switchboard network leases has the guests that there are (code 5)", why)
		case n == NetworkInternalError:
			return fmt.Sprintf("%v; %s may say more (code 7)", why, networkLogs)
		}
		return fmt.Sprintf("%v (code %d)", why, int64(n))
	}
	switch n {
	case NetworkFailure:
		return "the network service did not answer: " + networkLogs + " may say why; try again"
	case NetworkInvalidReply:
		return "the network service's answer makes no sense: is it another program that has the name " + NetworkService + "? (switchboard ls)"
	case NetworkNotAllowed:
		if op == opForward {
			return "your user may not: allow_uid or allow_gid of the network's file would allow it, and ports below 1024 and addresses that are not loopback " +
				"are for the service's user (code 3)"
		}
		return "the network's file does not allow your user: allow_uid or allow_gid in it would (code 3)"
	case NetworkInvalidRequest:
		if toGuest {
			return "a guest, a port or an address that cannot be, or a network service that is older than this program (code 4)"
		}
		return "a name, an id, a kind or a driver that cannot be, or a network service that is older than this program (code 4)"
	case NetworkNotFound:
		if toGuest {
			return "nobody holds the network, or no such guest is on it: switchboard network leases has those that there are (code 5)"
		}
		return "there is no network of that name, or its file is faulty: switchboard network ls has those that there are (code 5)"
	case NetworkCreateFailure:
		switch op {
		case opForward:
			return "it cannot listen there: another program may have the address (code 6)"
		case opDial:
			return "the guest does not answer (code 6)"
		}
		return "the network, or the interface on it, cannot be made: another network may have its subnet; " + networkLogs + " tells (code 6)"
	case NetworkInternalError:
		return "a limit is reached, such as that of networks on one connection, or the network service failed; " + networkLogs + " tells (code 7)"
	}
	return fmt.Sprintf("the network service answered with code %d, which this program does not know; %s may say more", int64(n), networkLogs)
}

// networkFault is a code with what is known of its cause.
type networkFault struct {
	code NetworkCode
	err  error // or nil
}

func (f *networkFault) Error() string {
	if f.err == nil {
		return f.code.Error()
	}
	return fmt.Sprintf("%v: %v", f.code, f.err)
}

func (f *networkFault) Unwrap() []error {
	if f.err == nil {
		return []error{f.code}
	}
	return []error{f.code, f.err}
}

// aboutNetwork makes the error that callers get.
func aboutNetwork(op, network string, err error) error {
	var fault *networkFault
	var full *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &full) && full.Op != "":
		return err
	case errors.As(err, &fault):
		return &Error{Code: fault.code.code(), Op: op, Name: network, Text: fault.code.text(op, fault.err), Err: fault}
	case errors.Is(err, errClosed), errors.Is(err, os.ErrClosed):
		return net.ErrClosed
	case errors.Is(err, context.Canceled):
		return during(op, network, err)
	}
	return during(op, network, err)
}
