// SPDX-License-Identifier: Apache-2.0

// Package vectortest reads the vectors of protocols, for tests: those of the repository, and
// those that SWITCHBOARD_VECTORS names: a folder, or one file.
package vectortest

import (
	"os"
	"path/filepath"
	"testing"
)

// Files returns the files with vectors in a folder, of which there must be some, and those of
// SWITCHBOARD_VECTORS. They may be of any protocol.
func Files(t testing.TB, folder string) []string {
	t.Helper()
	files := glob(t, folder)
	if more := os.Getenv("SWITCHBOARD_VECTORS"); more != "" {
		files = append(files, glob(t, more)...)
	}
	return files
}

// glob returns the files of a folder, or the one file that it is.
func glob(t testing.TB, folder string) []string {
	t.Helper()
	if info, err := os.Stat(folder); err == nil && info.Mode().IsRegular() {
		return []string{folder}
	}
	files, err := filepath.Glob(filepath.Join(folder, "*-vectors.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", folder, err)
	}
	return files
}
