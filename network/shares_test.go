// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"net"
	"testing"
)

func TestSharesAreNoMoreThanThereIs(t *testing.T) {
	for _, limit := range []int{256, 1024, 4096, 65536, 1 << 20} {
		s := shareOut(limit)
		if used := s.connections*ofConnection + s.leases*ofLease + s.flows + spareDescriptors; used > limit {
			t.Errorf("of %d descriptors %d may be used: %+v", limit, used, s)
		}
		if s.connections < 10 || s.leases < 30 {
			t.Errorf("of %d descriptors: %+v", limit, s)
		}
	}
}

func TestFlowsAreLimited(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := make(flows, 2)
	dial := func() (net.Conn, error) { return f.dial(context.Background(), "tcp", l.Addr().String()) }
	a, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	b, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := dial(); !errors.Is(err, errFlows) {
		t.Errorf("a third of two: %v", err)
	}
	if err := a.(halfCloser).CloseWrite(); err != nil {
		t.Error(err)
	}
	a.Close()
	a.Close()
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := f.dial(context.Background(), "tcp", "127.0.0.1:no"); err == nil || len(f) != 1 {
		t.Errorf("a failure: %v, %d taken", err, len(f))
	}
}
