// SPDX-License-Identifier: Apache-2.0

// Package runningprocess makes a program a backend of a running-process broker,
// version 1: that of Switchboard, or the original. It is also a client of one.
//
//	l, err := runningprocess.Listen()
//	if err != nil {
//		log.Fatal(err)
//	}
//	for {
//		c, err := l.Accept()
//		if err != nil {
//			log.Fatal(err)
//		}
//		go serve(c)
//	}
//
// The listener that the broker has bound is adopted, or a socket bound where the
// broker looks for one; the broker's question who listens there is answered;
// connections that the broker hands over come out of Accept like any other.
// Listen before anything slow is loaded: connections wait meanwhile.
//
//	c, granted, err := runningprocess.Dial(ctx, runningprocess.Request{Service: "builder", Version: "1.2.0"})
//
// What goes over a connection is between a client and its backend. Those who speak
// frames there have [ReadFrame] and [WriteFrame]. The sections that are named are
// those of the protocol; see docs/running-process.md. This is for Linux; elsewhere it
// compiles, and Listen and Dial fail with errors.ErrUnsupported.
package runningprocess

// What a backend finds in its environment (section 8). The last one is Switchboard's.
const (
	envListener  = "RUNNING_PROCESS_BROKER_LISTENER_FD"
	envPath      = "RUNNING_PROCESS_BROKER_V1_BACKEND_PIPE"
	envNamespace = "RUNNING_PROCESS_BROKER_V1_BACKEND_NAMESPACE"
	envHandoff   = "RUNNING_PROCESS_BROKER_V1_HANDOFF_PIPE"
)
