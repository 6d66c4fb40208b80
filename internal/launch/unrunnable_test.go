// SPDX-License-Identifier: Apache-2.0

//go:build linux

package launch

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/launch/order"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// A program that the kernel will refuse does not take its caller's connection, and writes nothing to it.
func TestConnectionUnrunnable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const missing = "/does/not/exist"
	script := write("script", "#!"+missing+"\n", 0o700)
	outer := write("outer", "#!"+script+"\n", 0o700)
	plain := write("plain", "", 0o600)
	closed := write("closed", "#!"+plain+" x\n", 0o700)
	loop := filepath.Join(dir, "loop")
	write("loop", "#!"+loop+"\n", 0o700)
	type unrunnable struct{ path, reason string }
	tests := map[string]unrunnable{
		"no interpreter":              {script, "cannot run " + script + " by " + missing + ": no such file or directory"},
		"an interpreter's":            {outer, "cannot run " + outer + " by " + script + " by " + missing + ": no such file or directory"},
		"an interpreter that is none": {closed, "cannot run " + closed + " by " + plain + ": permission denied"},
		"its own interpreter":         {loop, ""},
		"an interpreter without name": {write("unnamed", "#!\n", 0o700), "cannot run " + filepath.Join(dir, "unnamed") + ": exec format error"},
	}
	program, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if loader := []byte("/lib64/ld-linux-x86-64.so.2\x00"); bytes.Contains(program, loader) {
		none := bytes.Clone(loader)
		copy(none, "/none!")
		path := write("elf", string(bytes.Replace(program, loader, none, 1)), 0o700)
		tests["no loader"] = unrunnable{path, "cannot run " + path + " by /none!/ld-linux-x86-64.so.2: no such file or directory"}
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b, err := sys.Pair(sys.Stream)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			c := shell(t, Connection, "")
			c.Argv = []string{tt.path}
			s := launched(t, launcher(t, Config{}), c, b)
			b.Close()
			r := s.reports(t)
			if len(r) != 1 || r[0].Kind != order.Failed || r[0].Stage != order.StageProgram || tt.reason != "" && r[0].Error() != tt.reason {
				t.Errorf("%+v", r)
			}
			if st := s.exit(t); st.Code != 126 && st.Code != 127 {
				t.Error(st)
			}
			buf := make([]byte, 16)
			if n, err := sys.Read(a.Int(), buf); n != 0 || err != nil {
				t.Errorf("the caller read %q, %v", buf[:max(n, 0)], err)
			}
		})
	}
}

// What is neither a script nor an ELF file is the kernel's to judge: there may be somebody who runs it.
func TestConnectionUnknownFormat(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(path, []byte("echo hello\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	a, b, err := sys.Pair(sys.Stream)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	c := shell(t, Connection, "")
	c.Argv = []string{path}
	s := launched(t, launcher(t, Config{}), c, b)
	r := s.reports(t)
	if len(r) != 2 || r[0].Kind != order.Taken || r[1].Error() != "cannot run "+path+": exec format error" {
		t.Errorf("%+v", r)
	}
	s.exit(t)
}
