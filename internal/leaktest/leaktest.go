// SPDX-License-Identifier: Apache-2.0

// Package leaktest runs tests, and fails if they leave goroutines or descriptors behind.
package leaktest

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Run runs the tests and returns the status to exit with.
func Run(m *testing.M) int {
	r, w, err := os.Pipe() // so that the poller's own descriptors are counted
	if err != nil {
		panic(err)
	}
	defer r.Close()
	defer w.Close()
	before := Descriptors()
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Println(err)
		code = 1
	}
	if after := Descriptors(); after != before && code == 0 {
		fmt.Printf("%d descriptors are open, and there were %d\n", after, before)
		code = 1
	}
	return code
}

// Descriptors returns how many descriptors this process has, the one that it counts with included.
func Descriptors() int {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	return len(open)
}
