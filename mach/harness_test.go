// SPDX-License-Identifier: Apache-2.0

//go:build linux

package mach_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/broker/brokertest"
	"github.com/switchboard-ipc/switchboard/internal/leaktest"
	"github.com/switchboard-ipc/switchboard/mach"
)

// roleVariable makes this binary play another part than the tests.
const roleVariable = "SWITCHBOARD_TEST_ROLE"

func TestMain(m *testing.M) {
	name := os.Getenv(roleVariable)
	if name == "" && len(os.Args) > 1 {
		name = os.Args[1] // as the program that starts brokers
	}
	if role := roles[name]; role != nil {
		if err := role(os.Args[1:]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(leaktest.Run(m))
}

// deadline bounds every wait of a test: far above what is needed, for slow machines.
const deadline = time.Minute

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// newBroker runs a broker in a folder of its own until the test is over.
func newBroker(t testing.TB) (dir string) { return newBrokerWith(t, broker.Config{}) }

func newBrokerWith(t testing.TB, config broker.Config) (dir string) {
	t.Helper()
	dir, _ = brokertest.Start(t, config)
	return dir
}

func connect(t testing.TB, o mach.Options) *mach.Bootstrap {
	t.Helper()
	b, err := mach.Connect(testContext(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func newPort(t testing.TB) (*mach.ReceiveRight, *mach.SendRight) {
	t.Helper()
	receive, send, err := mach.NewPort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { receive.Close(); send.Close() })
	return receive, send
}

func wantCode(t testing.TB, what string, err error, code mach.Code) {
	t.Helper()
	if mach.CodeOf(err) != code {
		t.Errorf("%s: %v, want %v", what, err, code)
	}
}

func wantIs(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
