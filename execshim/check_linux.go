// SPDX-License-Identifier: Apache-2.0

package execshim

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

const (
	headSize       = 256 // what the kernel reads of a file to tell its format
	maxInterpreter = 5   // so many scripts may have each other as interpreters
	maxLoader      = 4096
)

// checkInterpreters looks for the commonest reasons for which the kernel refuses a file that may be executed: the interpreter of a script,
// or the loader of an ELF file of this machine, is missing or may not be executed itself. What else a file is, also for whom
// binfmt_misc runs it, is for exec to find out. It returns what cannot be run, for people, and why; 0 if it found nothing.
func checkInterpreters(program string) (what string, e syscall.Errno) {
	what = program
	for path, depth := program, 0; ; depth++ {
		next, script, e := interpreter(path)
		if e != 0 {
			return what, e
		}
		if next == "" {
			return "", 0
		}
		if script && depth == maxInterpreter {
			return program, syscall.ELOOP
		}
		what += " by " + next
		if e := errno(sys.CheckExecutable(next)); e != 0 {
			return what, e
		}
		if !script { // a loader is not loaded by another
			return "", 0
		}
		path = next
	}
}

// interpreter returns the file that the kernel executes to run another; "" if there is none, or it cannot be known.
func interpreter(path string) (next string, script bool, e syscall.Errno) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", false, 0 // it may be executed all the same
	}
	defer syscall.Close(fd)
	head := make([]byte, headSize)
	n := readAt(fd, head, 0)
	switch {
	case n >= 2 && string(head[:2]) == "#!":
		next, ok := scriptInterpreter(head[2:n], n < headSize)
		if !ok {
			return "", true, syscall.ENOEXEC
		}
		return next, true, 0
	case n >= 64 && string(head[:4]) == "\x7fELF":
		return loader(fd, head), false, 0
	}
	return "", false, 0
}

// scriptInterpreter finds the interpreter in the line after "#!". A name that does not end in what the kernel reads is no name.
func scriptInterpreter(line []byte, all bool) (name string, ok bool) {
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line, all = line[:i], true
	}
	line = bytes.TrimLeft(line, " \t")
	if i := bytes.IndexAny(line, " \t\x00"); i >= 0 {
		line, all = line[:i], true
	}
	return string(line), all && len(line) > 0
}

// native reports whether the kernel itself runs an ELF file of this class and machine. Others may have their loaders elsewhere.
func native(class byte, machine uint16) bool {
	switch runtime.GOARCH {
	case "amd64":
		return class == 2 && machine == 62 || class == 1 && machine == 3 // also programs of 32 bits
	case "arm64":
		return class == 2 && machine == 183
	case "riscv64":
		return class == 2 && machine == 243
	case "386":
		return class == 1 && machine == 3
	case "arm":
		return class == 1 && machine == 40
	}
	return false
}

// loader returns the PT_INTERP of an ELF file, or "". (debug/elf would make every start slower.)
func loader(fd int, head []byte) string {
	const littleEndian = 1 // all machines of native are
	le := binary.LittleEndian
	if head[5] != littleEndian || !native(head[4], le.Uint16(head[18:])) {
		return ""
	}
	wide := head[4] == 2
	table, size, count := int64(le.Uint32(head[28:])), 32, int(le.Uint16(head[44:]))
	if wide {
		table, size, count = int64(le.Uint64(head[32:])), 56, int(le.Uint16(head[56:]))
	}
	headers := make([]byte, min(count, 1024)*size)
	if readAt(fd, headers, table) != len(headers) {
		return ""
	}
	for ; len(headers) > 0; headers = headers[size:] {
		const interp = 3
		if le.Uint32(headers) != interp {
			continue
		}
		offset, length := int64(le.Uint32(headers[4:])), uint64(le.Uint32(headers[16:]))
		if wide {
			offset, length = int64(le.Uint64(headers[8:])), le.Uint64(headers[32:])
		}
		if length < 2 || length > maxLoader {
			return ""
		}
		name := make([]byte, length)
		if readAt(fd, name, offset) != len(name) || name[length-1] != 0 {
			return ""
		}
		name, _, _ = bytes.Cut(name, []byte{0})
		return string(name)
	}
	return ""
}

// readAt reads as much as there is, at most all of b.
func readAt(fd int, b []byte, offset int64) (n int) {
	for n < len(b) {
		m, err := syscall.Pread(fd, b[n:], offset+int64(n))
		if err == syscall.EINTR {
			continue
		}
		if err != nil || m <= 0 {
			break
		}
		n += m
	}
	return n
}
