// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sys_test

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

func TestSealedMemory(t *testing.T) {
	t.Parallel()
	for _, data := range [][]byte{nil, []byte("abc"), bytes.Repeat([]byte("0123456789abcdef"), 1<<16)} {
		fd, err := sys.SealedMemory("test", data)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := sys.SealedSize(fd.Int()); err != nil || n != int64(len(data)) {
			t.Errorf("%d, %v", n, err)
		}
		if b, err := sys.ReadSealed(fd.Int(), len(data)); err != nil || !bytes.Equal(b, data) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		if _, err := sys.ReadSealed(fd.Int(), len(data)+1); err == nil {
			t.Error("read more than there is")
		}
		if len(data) > 0 {
			b, err := sys.MapSealed(fd.Int(), len(data))
			if err != nil || !bytes.Equal(b, data) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			if err := sys.Unmap(b); err != nil {
				t.Error(err)
			}
		}
		file := os.NewFile(uintptr(fd.Take()), "memory")
		if _, err := file.WriteAt([]byte("x"), 0); err == nil {
			t.Error("sealed memory was written")
		}
		if err := file.Truncate(1 << 21); err == nil {
			t.Error("sealed memory grew")
		}
		file.Close()
	}
}

// TestUnsealed: what can still change is not read.
func TestUnsealed(t *testing.T) {
	t.Parallel()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := sys.SealedSize(int(file.Fd())); err == nil {
		t.Error("a file was taken for sealed memory")
	}
	if _, err := sys.MapSealed(int(file.Fd()), 1); err == nil {
		t.Error("a file was mapped")
	}
}

func seqpackets(t *testing.T) (a, b *sys.FD) {
	t.Helper()
	a, b, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// TestEnded: shut down for writing alone is the end for who reads, and no hang-up.
func TestEnded(t *testing.T) {
	t.Parallel()
	a, b := seqpackets(t)
	if _, err := sys.Send(b.Int(), nil); err != nil {
		t.Fatal(err)
	}
	if sys.Ended(a.Int()) {
		t.Error("an empty packet is no end")
	}
	if err := sys.ShutdownWrite(b.Int()); err != nil {
		t.Fatal(err)
	}
	if !sys.Ended(a.Int()) || sys.HungUp(a.Int()) {
		t.Errorf("ended %t, hung up %t", sys.Ended(a.Int()), sys.HungUp(a.Int()))
	}
	b.Close()
	if !sys.Ended(a.Int()) {
		t.Error("not ended by a hang-up")
	}
}

// TestPeekEach: each packet is told in order and stays; empty ones are passed over, and the end ends it.
func TestPeekEach(t *testing.T) {
	t.Parallel()
	a, b := seqpackets(t)
	for _, packet := range []string{"", "first", "", "", "2", "third"} {
		if _, err := sys.Send(b.Int(), []byte(packet)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"fir 5", "2 1", "thi 5"}
	peek := func() (got []string) {
		if err := sys.PeekEach(a.Int(), make([]byte, 3), func(head []byte, size int) {
			got = append(got, string(head)+" "+strconv.Itoa(size))
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	for range 2 {
		if got := peek(); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if err := sys.ShutdownWrite(b.Int()); err != nil {
		t.Fatal(err)
	}
	if got := peek(); !slices.Equal(got, want) {
		t.Errorf("at the end: %q", got)
	}
}

func TestHungUp(t *testing.T) {
	t.Parallel()
	a, b, err := sys.Pair(sys.Seqpacket)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if sys.HungUp(a.Int()) {
		t.Error("hung up at the beginning")
	}
	if _, err := sys.Send(b.Int(), nil); err != nil {
		t.Fatal(err)
	}
	if sys.HungUp(a.Int()) {
		t.Error("an empty packet is no hang-up")
	}
	b.Close()
	if !sys.HungUp(a.Int()) {
		t.Error("not hung up")
	}
}
