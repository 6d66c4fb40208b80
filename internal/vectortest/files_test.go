// SPDX-License-Identifier: Apache-2.0

package vectortest

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// SWITCHBOARD_VECTORS may be a folder, of which files of vectors count, or one file of any name.
func TestFiles(t *testing.T) {
	folder, more := t.TempDir(), t.TempDir()
	write := func(path string) string {
		if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own, other, odd := write(filepath.Join(folder, "a-vectors.json")), write(filepath.Join(more, "b-vectors.json")), write(filepath.Join(more, "odd.json"))
	for value, want := range map[string][]string{"": {own}, more: {own, other}, odd: {own, odd}, other: {own, other}} {
		t.Setenv("SWITCHBOARD_VECTORS", value)
		if got := Files(t, folder); !slices.Equal(got, want) {
			t.Errorf("with %q: %q, want %q", value, got, want)
		}
	}
}
