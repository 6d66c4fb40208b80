// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"testing"

	"github.com/switchboard-ipc/switchboard/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestServeAndCheck(t *testing.T) {
	t.Parallel()
	dir := exampletest.Broker(t)
	server := exampletest.Command(t, dir, "serve")
	exampletest.Serve(t, dir, name, server)
	out, err := exampletest.Command(t, dir, "check").Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("com.example.grpc is SERVING, says process %d\n", server.Process.Pid); string(out) != want {
		t.Errorf("the answer is %q, want %q", out, want)
	}
}
