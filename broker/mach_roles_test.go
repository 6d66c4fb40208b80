// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"os"
	"os/exec"
)

// machOwnerRole checks a name in, and has a child that inherits the connection and the right, until it is killed. The child goes with its
// standard input.
func machOwnerRole(args []string) {
	c := bootstrap(panicker{}, args[0])
	right := c.checkIn(args[1])
	child := exec.Command("cat")
	child.Stdin = os.Stdin
	child.ExtraFiles = []*os.File{os.NewFile(uintptr(c.fd.Int()), "connection"), os.NewFile(uintptr(right.fd.Int()), "right")}
	if err := child.Start(); err != nil {
		panic(err)
	}
	fmt.Println("ready")
	select {}
}
