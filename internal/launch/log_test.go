// SPDX-License-Identifier: Apache-2.0

//go:build linux

package launch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestTail(t *testing.T) {
	t.Parallel()
	l, err := OpenLog(filepath.Join(t.TempDir(), "log"), "com.example.x@1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if st, err := l.Stat(); err != nil || st.Mode() != 0o600 || filepath.Base(l.Path) != "com.example.x@1.0.0.log" {
		t.Error(st, err, l.Path)
	}
	fmt.Fprint(l, "old\nold without an end")
	from := l.Offset()
	if got := Tail(l.Path, from, 5); got != nil {
		t.Error(got)
	}
	fmt.Fprint(l, "\n1\n\n2\r\n3\n  4\t4  \n\x1b[31mred\x1b[0m \xff \x07\n", strings.Repeat("ä", 1000), "\nlast")
	want := []string{"3", "4 4", "red \uFFFD \uFFFD", strings.Repeat("ä", 198) + "…", "last"}
	if d := cmp.Diff(want, Tail(l.Path, from, 5)); d != "" {
		t.Error(d)
	}
	if got := Tail(l.Path, from, 100); len(got) != 7 || got[0] != "1" {
		t.Error(got)
	}
	// After a rotation the offset is beyond the end.
	if err := os.Truncate(l.Path, 0); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(l, "anew\n")
	if got := Tail(l.Path, from, 5); len(got) != 1 || got[0] != "anew" {
		t.Error(got)
	}
	if got := Tail(l.Path+".none", 0, 5); got != nil {
		t.Error(got)
	}
}

func TestOpenLogRefusesLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink("/dev/null", filepath.Join(dir, "x.log")); err != nil {
		t.Fatal(err)
	}
	if l, err := OpenLog(dir, "x"); err == nil {
		l.Close()
		t.Error("a symbolic link was followed")
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	l, err := OpenLog(t.TempDir(), "x")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if done, err := Rotate(l.Path+".none", 10); done || err != nil {
		t.Error(done, err)
	}
	fmt.Fprint(l, "0123456789")
	if done, err := Rotate(l.Path, 10); done || err != nil {
		t.Error(done, err)
	}
	for round := range 2 {
		fmt.Fprint(l, "abcdefghijklmnop")
		if done, err := Rotate(l.Path, 10); !done || err != nil {
			t.Error(done, err)
		}
		if b, err := os.ReadFile(l.Path + ".1"); err != nil || string(b) != "ghijklmnop" {
			t.Errorf("%d: %q, %v", round, b, err)
		}
	}
	fmt.Fprint(l, "new")
	if b, err := os.ReadFile(l.Path); err != nil || string(b) != "new" {
		t.Errorf("%q, %v", b, err)
	}
	if st, err := os.Stat(l.Path + ".1"); err != nil || st.Mode() != 0o600 {
		t.Error(st, err)
	}
}

func TestParseNotify(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Notification{
		"READY=1":                            {Ready: true},
		"READY=0\n":                          {},
		"STATUS=warming \x07up\nREADY=1\nX=": {Ready: true, Status: "warming \uFFFDup"},
		"STOPPING=1":                         {Stopping: true},
		"":                                   {},
		"READY":                              {},
	} {
		if got := ParseNotify([]byte(text)); got != want {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add([]byte("\x1b[1;31mred\x1b[0m"))
	f.Add([]byte("\xe4\xff\t"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := printable(b)
		if len(s) > MaxLine || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\x1b\n\r\t") {
			t.Errorf("%q", s)
		}
	})
}
