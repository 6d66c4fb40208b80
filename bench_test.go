// SPDX-License-Identifier: Apache-2.0

package switchboard_test

import (
	"context"
	"net"
	"testing"
)

// BenchmarkDial calls a service and reads its answer; BenchmarkPlain does the same with a socket at a known path.
func BenchmarkDial(b *testing.B) {
	dir := runtimeDir(b)
	p := start(b, "broker", dir)
	p.expect("ready")
	o := start(b, "owner", dir, "a.b")
	o.expect("ready")
	c := client(b, dir)
	b.ReportAllocs()
	buf := make([]byte, 100)
	for b.Loop() {
		conn, err := c.Dial(context.Background(), "a.b")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(buf); err != nil {
			b.Fatal(err)
		}
		conn.Close()
	}
}

func BenchmarkPlain(b *testing.B) {
	dir := runtimeDir(b)
	p := start(b, "plain", dir)
	p.expect("ready")
	b.ReportAllocs()
	buf := make([]byte, 100)
	for b.Loop() {
		conn, err := net.Dial("unix", dir+"/x")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(buf); err != nil {
			b.Fatal(err)
		}
		conn.Close()
	}
}

func BenchmarkLookUp(b *testing.B) {
	dir := runtimeDir(b)
	p := start(b, "broker", dir)
	p.expect("ready")
	o := start(b, "owner", dir, "a.b")
	o.expect("ready")
	c := client(b, dir)
	b.ReportAllocs()
	ctx := context.Background()
	for b.Loop() {
		if _, err := c.LookUp(ctx, "a.b"); err != nil {
			b.Fatal(err)
		}
	}
}
