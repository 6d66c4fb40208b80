// SPDX-License-Identifier: Apache-2.0

package exehash

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lukechampine.com/blake3"
)

// aged writes a file whose last change is long enough ago to be trusted.
func aged(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	time.Sleep(settled + 10*time.Millisecond)
}

// counting returns a Hasher, and how often it has read a file.
func counting() (*Hasher, *atomic.Int32) {
	var reads atomic.Int32
	return &Hasher{reading: func(string) { reads.Add(1) }}, &reads
}

func check(t *testing.T, h *Hasher, path string, data []byte) {
	t.Helper()
	b, s, err := h.Hash(path)
	if err != nil || b != blake3.Sum256(data) || s != sha256.Sum256(data) {
		t.Errorf("Hash(%q) = %x, %x, %v", path, b, s, err)
	}
}

// TestKnownDigests has the digests from elsewhere: the published ones of the empty input.
func TestKnownDigests(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var h Hasher
	b, s, err := h.Hash(path)
	if err != nil || hex.EncodeToString(b[:]) != "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262" ||
		hex.EncodeToString(s[:]) != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("empty file: %x, %x, %v", b, s, err)
	}
}

func TestReadsOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	h, reads := counting()
	path := filepath.Join(t.TempDir(), "a")
	one, two := bytes.Repeat([]byte("1"), 3*chunk+1), bytes.Repeat([]byte("2"), 3*chunk+1)
	aged(t, path, one)
	for range 3 {
		check(t, h, path, one)
	}
	link := path + ".link"
	if err := os.Symlink("a", link); err != nil {
		t.Fatal(err)
	}
	check(t, h, link, one) // the same file
	if n := reads.Load(); n != 1 {
		t.Errorf("read %d times, want once", n)
	}

	// Another file in its place; then, where the time of any change is known, other bytes of the same size, dated back.
	aged(t, path+".new", two)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	check(t, h, path, two)
	if runtime.GOOS != "linux" {
		return
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	aged(t, path, one)
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	check(t, h, path, one)
}

// TestFreshFile rewrites a file as fast as it can be: never an old digest.
func TestFreshFile(t *testing.T) {
	t.Parallel()
	var h Hasher
	path := filepath.Join(t.TempDir(), "a")
	for i := range 200 {
		data := []byte{byte(i)}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		check(t, &h, path, data)
	}
}

// TestLargeFile holds up the reading of one file: those who want it share it, and those who want another do not wait.
func TestLargeFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	large, small := filepath.Join(folder, "large"), filepath.Join(folder, "small")
	aged(t, large, []byte("large"))
	aged(t, small, []byte("small"))
	begun, release := make(chan struct{}), make(chan struct{})
	var reads atomic.Int32
	h := &Hasher{reading: func(path string) {
		if path == large {
			reads.Add(1)
			close(begun) // a second reading would panic
			<-release
		}
	}}
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() { check(t, h, large, []byte("large")) })
	}
	<-begun
	check(t, h, small, []byte("small"))
	close(release)
	callers.Wait()
	if n := reads.Load(); n != 1 {
		t.Errorf("read %d times for 64 callers", n)
	}
}

// TestChangesWhileRead changes a file after it was looked at: it is looked at again, and in the end refused.
func TestChangesWhileRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a")
	aged(t, path, []byte("old"))
	left := 1
	h := &Hasher{reading: func(string) {
		if left > 0 {
			left--
			if err := os.WriteFile(path, bytes.Repeat([]byte("new"), left+2), 0o644); err != nil {
				t.Error(err)
			}
		}
	}}
	check(t, h, path, []byte("newnew"))
	left = attempts
	if _, _, err := h.Hash(path); !errors.Is(err, errChanging) {
		t.Errorf("a file that never holds still: %v", err)
	}
	if len(h.flights) != 0 {
		t.Error("flights are left")
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	var h Hasher
	if _, _, err := h.Hash(filepath.Join(folder, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, path := range []string{folder, pipe} {
		if _, _, err := h.Hash(path); err == nil {
			t.Errorf("%s has a digest", path)
		}
	}
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	h := &Hasher{known: make(map[stamp]sums), flights: make(map[stamp]*flight)}
	for i := range 2 * capacity {
		f := &flight{done: make(chan struct{})}
		h.land(stamp{inode: uint64(i)}, f)
	}
	if len(h.known) != capacity {
		t.Errorf("%d are kept", len(h.known))
	}
}

func BenchmarkKnown(b *testing.B) {
	path, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	time.Sleep(settled)
	var h Hasher
	for b.Loop() {
		if _, _, err := h.Hash(path); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	path := filepath.Join(b.TempDir(), "a")
	data := make([]byte, 32<<20)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		var h Hasher
		if _, _, err := h.Hash(path); err != nil {
			b.Fatal(err)
		}
	}
}
