// SPDX-License-Identifier: Apache-2.0

package execshim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestCheckInterpreters: what is found out before a caller is told OK is what the kernel says to the same file.
func TestCheckInterpreters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := func(name string, mode os.FileMode, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := program("plain", 0o600, "#!/bin/sh\n")
	missing := program("missing", 0o700, "#!/does/not/exist\n")
	files := map[string]struct {
		path, what string // "" for what: nothing is found
		errno      syscall.Errno
	}{
		"a script":                             {program("script", 0o700, "#!/bin/sh\n"), "", 0},
		"a script with arguments":              {program("arguments", 0o700, "#! \t/bin/sh -e\nexit 0\n"), "", 0},
		"a script without an end of line":      {program("short", 0o700, "#!/bin/sh"), "", 0},
		"a script of a missing interpreter":    {missing, " by /does/not/exist", syscall.ENOENT},
		"a script of a plain file":             {program("closed", 0o700, "#!"+plain+"\n"), " by " + plain, syscall.EACCES},
		"a script of a folder":                 {program("folder", 0o700, "#!/tmp\n"), " by /tmp", syscall.EACCES},
		"a script of such a script":            {program("second", 0o700, "#!"+missing+"\n"), " by " + missing + " by /does/not/exist", syscall.ENOENT},
		"a script of nothing":                  {program("nothing", 0o700, "#! \n"), "", syscall.ENOEXEC},
		"a script with a line that is no name": {program("long", 0o700, "#!/"+strings.Repeat("x", 300)+"\n"), "", syscall.ENOEXEC},
		"an ELF file":                          {"/bin/true", "", 0},
		"this ELF file":                        {"/proc/self/exe", "", 0},
		"text":                                 {program("text", 0o700, "echo hello\n"), "", 0},
		"an empty file":                        {program("empty", 0o700, ""), "", 0},
		"a cut ELF file":                       {program("cut", 0o700, "\x7fELF"+strings.Repeat("\x00", 96)), "", 0},
	}
	previous := "/bin/sh"
	for i := range 6 {
		path := program(fmt.Sprint("chain", i), 0o700, "#!"+previous+"\n")
		f := files["a script"]
		if f.path = path; i == 5 {
			f.errno = syscall.ELOOP
		}
		files[fmt.Sprint("a chain of ", i+1)], previous = f, path
	}
	for name, f := range files {
		what, e := checkInterpreters(f.path)
		if e != f.errno || e == 0 && what != "" || !strings.HasPrefix(what, map[bool]string{true: f.path + f.what}[e != 0]) {
			t.Errorf("%s: %q, %v", name, what, e)
		}
		if name == "this ELF file" { // it would test itself
			continue
		}
		if kernel := execute(f.path); e != 0 && kernel != e {
			t.Errorf("%s: the kernel says %v, not %v", name, kernel, e)
		}
	}
}

// execute returns what the kernel says to a file that it is to execute.
func execute(path string) (e syscall.Errno) {
	for {
		if err := exec.Command(path).Run(); !errors.As(err, &e) {
			return 0
		}
		if e != syscall.ETXTBSY { // another test forked while this one wrote the file
			return e
		}
	}
}

// elf makes a file of one header and one program header, which is no program.
func elf(class, order byte, machine uint16, interpreter string) []byte {
	le := binary.LittleEndian
	b := make([]byte, 256)
	copy(b, "\x7fELF")
	b[4], b[5] = class, order
	le.PutUint16(b[16:], 2)
	le.PutUint16(b[18:], machine)
	const at = 64
	if class == 2 {
		le.PutUint64(b[32:], at)
		le.PutUint16(b[56:], 1)
		le.PutUint32(b[at:], 3)
		le.PutUint64(b[at+8:], uint64(len(b)))
		le.PutUint64(b[at+32:], uint64(len(interpreter)))
	} else {
		le.PutUint32(b[28:], at)
		le.PutUint16(b[44:], 1)
		le.PutUint32(b[at:], 3)
		le.PutUint32(b[at+4:], uint32(len(b)))
		le.PutUint32(b[at+16:], uint32(len(interpreter)))
	}
	return append(b, interpreter...)
}

func TestLoader(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		t.Skip("the files are of amd64")
	}
	path := filepath.Join(t.TempDir(), "program")
	far := elf(2, 1, 62, "/no\x00")
	binary.LittleEndian.PutUint64(far[64+8:], 1<<63|1)
	huge := elf(2, 1, 62, "/no\x00")
	binary.LittleEndian.PutUint64(huge[64+32:], 1<<40)
	many := elf(2, 1, 62, "/no\x00")
	binary.LittleEndian.PutUint16(many[56:], 0xffff)
	for name, tt := range map[string]struct {
		content []byte
		want    syscall.Errno
	}{
		"64 bits":                       {elf(2, 1, 62, "/does/not/exist\x00"), syscall.ENOENT},
		"32 bits":                       {elf(1, 1, 3, "/does/not/exist\x00"), syscall.ENOENT},
		"a loader that is there":        {elf(2, 1, 62, "/bin/sh\x00"), 0},
		"a loader that is a folder":     {elf(2, 1, 62, "/tmp\x00"), syscall.EACCES},
		"no loader":                     {bytes.Replace(elf(2, 1, 62, "/no\x00"), []byte{3, 0, 0, 0}, []byte{1, 0, 0, 0}, 1), 0},
		"another machine":               {elf(2, 1, 183, "/does/not/exist\x00"), 0},
		"another order of bytes":        {elf(2, 2, 62, "/does/not/exist\x00"), 0},
		"a name without an end":         {elf(2, 1, 62, "/does/not/exist"), 0},
		"a name that is not there":      {far, 0},
		"a name that is too long":       {huge, 0},
		"more headers than there are":   {many, 0},
		"a name of which a part is cut": {elf(2, 1, 62, "/does/not/exist\x00")[:262], 0},
	} {
		if err := os.WriteFile(path, tt.content, 0o700); err != nil {
			t.Fatal(err)
		}
		what, e := checkInterpreters(path)
		if e != tt.want || e == syscall.ENOENT && what != path+" by /does/not/exist" {
			t.Errorf("%s: %q, %v", name, what, e)
		}
	}
}
