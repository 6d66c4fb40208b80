// SPDX-License-Identifier: Apache-2.0

// Package leaktest runs tests, and fails if they leave goroutines or descriptors behind.
package leaktest

import (
	"fmt"
	"os"
	"testing"
	"time"

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
	if code != 0 {
		return code
	}
	end := time.Now().Add(patience)
	for err = left(before); err != nil && time.Now().Before(end); err = left(before) {
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// patience is how long what ends by itself may take on a busy machine.
const patience = 10 * time.Second

// left says what is left behind.
func left(before int) error {
	if err := goleak.Find(); err != nil {
		return err
	}
	if after := Descriptors(); after != before {
		return fmt.Errorf("%d descriptors are open, and there were %d", after, before)
	}
	return nil
}

// Descriptors returns how many descriptors this process has, the one that it counts with included.
func Descriptors() int {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	return len(open)
}
