// SPDX-License-Identifier: Apache-2.0

// Package launch starts, watches and ends backends, one process at a time. It knows no names, versions or callers: who launches what
// and when is decided elsewhere.
//
// A backend begins as the exec shim (package execshim), which waits for its [order.Order]. So whoever launches can write down
// what it launched before anything runs: [Launcher.Start], then [WriteRecord], then [Process.Order]. What the shim has to say comes on
// [Process.Control], as packets for [order.ParseReport]; that the process has exited, on [Process.PIDFD]. Then
// [Process.Wait] tells how, [Process.KillTree] ends what it left behind, and [Process.Close] gives everything back.
//
// A later broker finds a recorded backend again by [Launcher.Find], which believes a record only as far as the kernel confirms it.
package launch
