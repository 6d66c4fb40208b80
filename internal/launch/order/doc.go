// SPDX-License-Identifier: Apache-2.0

// Package order holds what a broker and the exec shim of a backend say to each other on their control socket: one [Order]
// down, any number of [Report]s up, one packet each. Bytes in, values out; both sides are the same program, so there is no version
// but the first byte, and anything unexpected is an error.
//
// The shim's part imports little on purpose: what it imports is paid at each launch.
package order

// What tells a shim that it is one: its argv[0], and an environment variable with the number of its control socket. The
// descriptor after that is the listening socket, if it has one.
const (
	ShimName  = "switchboard-exec"
	ShimMark  = "SWITCHBOARD_EXEC"
	ShimValue = "3"
	ControlFD = 3
	ListenFD  = 4
)
