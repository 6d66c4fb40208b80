// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/switchboard-ipc/switchboard/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestServeAndGet(t *testing.T) {
	t.Parallel()
	dir := exampletest.Broker(t)
	exampletest.Serve(t, dir, name, exampletest.Command(t, dir, "serve"))
	for range 2 {
		get := exampletest.Command(t, dir, "get", "/greeting")
		out, err := get.Output()
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("/greeting for process %d of user %d\n", get.Process.Pid, os.Getuid()); string(out) != want {
			t.Errorf("the answer is %q, want %q", out, want)
		}
	}
}
