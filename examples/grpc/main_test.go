// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/switchboard-ipc/switchboard/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestServeAndCheck(t *testing.T) {
	t.Parallel()
	dir := exampletest.Broker(t)
	exampletest.Serve(t, dir, name, exampletest.Command(t, dir, "serve"))
	out, err := exampletest.Command(t, dir, "check").Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "com.example.grpc is SERVING\n"; string(out) != want {
		t.Errorf("the answer is %q, want %q", out, want)
	}
}
