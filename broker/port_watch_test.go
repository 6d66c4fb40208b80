// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
)

// One right concerns as many as want to know of its death: more than an epoll set takes of one socket.
func TestPortWatchedForMany(t *testing.T) {
	t.Parallel()
	const many = 1000
	b := startBroker(t, brokerOptions{})
	names, subsets, notices := bootstrap(t, b.dir), bootstrap(t, b.dir), bootstrap(t, b.dir)
	receive, send := portPair(t)
	var told []*machConn
	for i := range many {
		names.register("com.example.n"+strconv.Itoa(i), send)
	}
	var descriptors int
	if fmt.Sscan(b.count(), &descriptors); descriptors > 100 {
		t.Errorf("the broker has %d descriptors for %d names of one right", descriptors, many)
	}
	var in *machConn
	for range many {
		boot := subsets.right(mach.MakeSend, subsetRequest(), send)
		if in == nil {
			in = boot.connect()
		}
		boot.close()
	}
	for range many {
		told = append(told, notices.notify(mach.DeadName, mach.CopySend, send))
	}
	b.checkDescriptors()
	passes(names.lookUp("com.example.n999"), receive)
	inner := in.checkIn("com.example.inner")
	passes(in.lookUp("com.example.inner"), inner)
	told[0].silent()

	// Some end by themselves, in the midst of the others.
	other := bootstrap(t, b.dir)
	other.register("com.example.other", send)
	to := other.notify(mach.DeadName, mach.CopySend, send)
	other.close()
	to.closed()
	names.becomes("com.example.other", mach.UnknownService)
	b.checkDescriptors()

	send.close()
	receive.close()
	for _, to := range told {
		to.told(deadName)
		to.closed()
	}
	for i := range many {
		names.becomes("com.example.n"+strconv.Itoa(i), mach.UnknownService)
	}
	in.becomes("com.example.inner", mach.UnknownService)
	in.close()
	s := open(t, b.dir)
	eventually(t, func() string {
		if n := s.status().Namespaces; n != 1 {
			return strconv.FormatUint(n, 10) + " namespaces"
		}
		return ""
	})
}
