// SPDX-License-Identifier: Apache-2.0

// Package admission decides whom a broker lets in: how often a process may
// ask, how often a backend is launched, what happens when descriptors run out,
// and how long to wait for a backend that is starting. Everything is a plain
// state machine, of one goroutine at a time: times are milliseconds of a clock
// that does not go back, and are passed in.
package admission
