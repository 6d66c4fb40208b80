// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Memory is what a process has resident, in bytes.
type Memory struct {
	Resident  int64 // all of it, with the pages of its executable
	Anonymous int64 // what is its own alone: heap and stacks
}

// MemoryOf reads the resident memory of a process from /proc.
func MemoryOf(pid int) (Memory, error) {
	path := fmt.Sprintf("/proc/%d/status", pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return Memory{}, fmt.Errorf("cannot read the memory of process %d: %w", pid, err)
	}
	var m Memory
	for line := range strings.Lines(string(text)) {
		field, value, _ := strings.Cut(line, ":")
		var to *int64
		switch field {
		case "VmRSS":
			to = &m.Resident
		case "RssAnon":
			to = &m.Anonymous
		default:
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return Memory{}, fmt.Errorf("cannot read %s in %s: %w", field, path, err)
		}
		*to = kib << 10
	}
	if m.Resident == 0 || m.Anonymous == 0 {
		return Memory{}, fmt.Errorf("cannot read VmRSS and RssAnon in %s: not there", path)
	}
	return m, nil
}

// CPU is the time that a process has spent on a processor so far, with that of
// all its threads, from /proc.
func CPU(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("cannot read the CPU time of process %d: no /proc/%d/task/*/schedstat", pid, pid)
	}
	var sum time.Duration
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // a thread that ended
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("cannot read %s: %w", f, err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}

// ChildOf is the process id of the first child of a process, 0 if it has none.
func ChildOf(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	first, _, _ := strings.Cut(string(text), " ")
	child, _ := strconv.Atoi(first)
	return child
}
