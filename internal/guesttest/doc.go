// SPDX-License-Identifier: Apache-2.0

// Package guesttest boots real virtual machines for tests: QEMU, Debian's kernel, and a busybox that does what the
// test says. The machine has one interface, on a socket that the test or a command gives it:
//
//	g := guesttest.Start(t, guesttest.Options{
//		Command: []string{switchboard, "acquire", "shared", "--"},
//		Env:     []string{"XDG_RUNTIME_DIR=" + guesttest.Folder(t)},
//	})
//	network := g.Ready(ctx) // booted; what DHCP gave it
//	g.Run(ctx, "ping -c 1 -W 5 "+network.Router.String())
//	g.Kill()
//	<-g.Ended()
//
// Guests run as an ordinary user, also where the test is root: everything that the command uses must be that user's to
// read, for which Folder is. They boot with KVM where that works within seconds, else emulated, which takes about
// three seconds of one processor: boot two at once at most.
//
// Debian 12's static busybox has traps: wget -T crashes (say "timeout 20 wget"), nc knows no UDP (tftp and
// nslookup NAME SERVER:PORT do), and there is `nc -ll -p PORT -e PROGRAM` for a server.
//
// The kernel and busybox come from Debian's packages, unpacked and not installed, and are kept in a folder
// (/var/cache/switchboard-guesttest, or the user's cache; SWITCHBOARD_GUEST_CACHE names another). Tests skip, and
// say why, where QEMU is not installed or the packages cannot be had; with SWITCHBOARD_GUEST_REQUIRED=1 they fail.
package guesttest
