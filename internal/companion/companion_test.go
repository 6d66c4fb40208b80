// SPDX-License-Identifier: Apache-2.0

package companion

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFind looks for a program beside another, through a link, and on PATH.
func TestFind(t *testing.T) {
	dir, path := t.TempDir(), t.TempDir()
	t.Setenv("PATH", path)
	program := filepath.Join(dir, "main")
	link := filepath.Join(path, "link")
	write(t, program)
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	_, err := Find("other", link)
	if err == nil || !strings.Contains(err.Error(), program) || !strings.Contains(err.Error(), "go install") {
		t.Errorf("where there is none: %v", err)
	}
	onPath, beside := filepath.Join(path, "other"), filepath.Join(dir, "other")
	write(t, onPath)
	for _, from := range []string{"", link} {
		if found, err := Find("other", from); err != nil || found != onPath {
			t.Errorf("from %q: %q (%v), want %q", from, found, err, onPath)
		}
	}
	write(t, beside)
	if found, err := Find("other", link); err != nil || found != beside {
		t.Errorf("%q (%v), want %q", found, err, beside)
	}
}

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o700); err != nil {
		t.Fatal(err)
	}
}
