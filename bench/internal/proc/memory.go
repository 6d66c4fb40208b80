package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
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
