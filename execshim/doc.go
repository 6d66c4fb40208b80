// SPDX-License-Identifier: Apache-2.0

// Package execshim is the hook by which a program that contains a broker launches backends.
//
// A backend is started through a second process of the same program, which prepares itself (user, folder, sockets) and then
// executes the backend in its place. A program that uses package broker to launch services calls [Run] first thing in main:
//
//	func main() {
//		execshim.Run()
//		…
//	}
//
// In every other process Run returns at once. A program that cannot do that names one that does, such as the switchboard
// command, in the broker's configuration.
//
// What main's package imports is initialised before main, also in the shim: a lean program launches faster.
package execshim
