// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

const groupPrefix = "switchboard-"

// isInstance reports whether s is 32 hexadecimal digits.
func isInstance(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

// isGroup reports whether a folder of this name is one that make made.
func isGroup(base string) bool {
	s, ok := strings.CutPrefix(base, groupPrefix)
	return ok && isInstance(s)
}

// cgroups makes the cgroups of backends below this process' own. The zero value makes none.
type cgroups struct {
	mu     sync.Mutex
	parent string // "" where none can be made
}

// findCgroups finds this process' own group. A broker that a backend started is in the group of that backend, and would end with
// it: with move it leaves, and without, or where it cannot, it makes no groups.
func findCgroups(move bool) *cgroups {
	own := ownCgroup("/proc/self/mountinfo", "/proc/self/cgroup")
	for at := own; len(at) > 1; at = filepath.Dir(at) {
		if !isGroup(filepath.Base(at)) {
			continue
		}
		own = filepath.Dir(at)
		if !move || os.WriteFile(filepath.Join(own, "cgroup.procs"), []byte("0"), 0) != nil {
			return new(cgroups)
		}
	}
	return &cgroups{parent: own}
}

// ownCgroup returns the folder of this process' cgroup (version 2), or "".
func ownCgroup(mountinfo, self string) string {
	b, err := os.ReadFile(self)
	if err != nil {
		return ""
	}
	group := ""
	for line := range strings.Lines(string(b)) {
		if g, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			group = g
		}
	}
	if !strings.HasPrefix(group, "/") || strings.Contains(group, "/..") {
		return "" // none, or outside what can be seen here
	}
	if b, err = os.ReadFile(mountinfo); err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		front, back, ok := strings.Cut(line, " - ")
		f := strings.Fields(front)
		if !ok || len(f) < 5 || !strings.HasPrefix(back, "cgroup2 ") {
			continue
		}
		root, point := unescape(f[3]), unescape(f[4])
		if root == "/" {
			return filepath.Join(point, group)
		}
		if rest, ok := strings.CutPrefix(group, root); ok && (rest == "" || rest[0] == '/') {
			return filepath.Join(point, rest)
		}
	}
	return ""
}

// unescape undoes what mountinfo does to spaces and the like.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// cgroup is one that was made. The methods of nil do nothing.
type cgroup struct {
	path string
	dir  *os.File
}

// make makes the group of an instance; nil without an error where that is not possible.
func (g *cgroups) make(instance string) (*cgroup, error) {
	g.mu.Lock()
	parent := g.parent
	g.mu.Unlock()
	if parent == "" || !isInstance(instance) {
		return nil, nil
	}
	path := filepath.Join(parent, groupPrefix+instance)
	if err := os.Mkdir(path, 0o755); err != nil {
		if g.refused(err) || isBusy(err) {
			return nil, nil
		}
		return nil, err
	}
	dir, err := os.Open(path)
	if err == nil {
		if err = syscall.Access(filepath.Join(path, "cgroup.kill"), 2); err != nil { // Linux 5.14
			dir.Close()
		}
	}
	if err != nil {
		_ = os.Remove(path)
		g.refused(err)
		return nil, nil
	}
	return &cgroup{path: path, dir: dir}, nil
}

// isBusy reports whether an error is about this moment: so many groups or processes (cgroup.max.descendants, pids.max) are there now.
func isBusy(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.EBUSY)
}

// refused notes that groups cannot be made here, unless the error says something else (out of memory, too many processes).
func (g *cgroups) refused(err error) bool {
	if isBusy(err) {
		return false
	}
	for _, e := range []error{syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.EEXIST, syscall.E2BIG} {
		if errors.Is(err, e) {
			return false
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.parent = ""
	return true
}

func (c *cgroup) fd() int {
	if c == nil {
		return -1
	}
	return int(c.dir.Fd())
}

func (c *cgroup) close() {
	if c != nil {
		c.dir.Close()
	}
}

func (c *cgroup) remove() {
	if c != nil {
		_ = os.Remove(c.path)
	}
}
