// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"context"
	"fmt"
	"hash"
	"hash/crc32"
	"net"
	"os"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/leaktest"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/internal/unixconn"
)

// This binary plays every part: TestMain runs the role that roleVariable names.
const roleVariable = "SWITCHBOARD_TEST_ROLE"

var roles = map[string]func(args []string) error{}

func TestMain(m *testing.M) {
	if role := roles[os.Getenv(roleVariable)]; role != nil {
		if err := role(os.Args[1:]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(leaktest.Run(m))
}

// deadline bounds every wait of a test: far above what is needed, for slow machines.
const deadline = 60 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pair(t testing.TB, kind sys.SocketType) (a, b *net.UnixConn) {
	t.Helper()
	x, y, err := sys.Pair(kind)
	noError(t, err)
	a, err = unixconn.Of(x)
	noError(t, err)
	b, err = unixconn.Of(y)
	noError(t, err)
	return a, b
}

// newWriter makes a writer that waits as long as a test does, unless it is told otherwise: for readers that are being started, and for those that are slow.
func newWriter(t testing.TB, f Format, opts ...CreateOption) *Writer {
	t.Helper()
	patient := []CreateOption{Patience(deadline), createOption(func(o *createOptions) { o.hello = deadline })}
	w, err := NewWriter(f, append(patient, opts...)...)
	noError(t, err)
	t.Cleanup(func() { w.Close() })
	return w
}

func attach(t testing.TB, w *Writer, opts ...OpenOption) *Reader {
	t.Helper()
	return attachBy(t, w, sys.Seqpacket, opts...)
}

func attachBy(t testing.TB, w *Writer, kind sys.SocketType, opts ...OpenOption) *Reader {
	t.Helper()
	a, b := pair(t, kind)
	noError(t, w.Serve(a))
	r, err := NewReader(testContext(t), b, opts...)
	noError(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

// fill makes a picture that depends on n, with its checksum as metadata.
func fill(l *Loan, n int) {
	sum := crc32.NewIEEE()
	for i := range l.Planes() {
		p := l.Plane(i)
		for j := range p {
			p[j] = byte(n*31 + j*7 + i + j>>8)
		}
		sum.Write(p)
	}
	l.Metadata = order.AppendUint32(l.Metadata[:0], sum.Sum32())
}

func check(f *Frame) error {
	sum := crc32.NewIEEE()
	for i := range f.Planes() {
		sum.Write(f.Plane(i))
	}
	if len(f.Metadata) != 4 || order.Uint32(f.Metadata) != sum.Sum32() {
		return fmt.Errorf("frame %d in slot %d has another checksum", f.Sequence, f.Slot)
	}
	return nil
}

func publish(t testing.TB, w *Writer, n int) ID {
	t.Helper()
	l, err := w.Loan(testContext(t))
	noError(t, err)
	fill(l, n)
	id, err := l.PublishID()
	noError(t, err)
	return id
}

func next(t testing.TB, r *Reader) *Frame {
	t.Helper()
	f, err := r.Next(testContext(t))
	noError(t, err)
	noError(t, check(f))
	return f
}

func newSum() hash.Hash32 { return crc32.NewIEEE() }

var small = Format{FourCC: BGRA, Width: 30, Height: 20}

func eventually(t testing.TB, what func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !what(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}
