// SPDX-License-Identifier: Apache-2.0

// Package vectortest reads the vectors of protocols, for tests: those of the repository, and
// those in the folder that SWITCHBOARD_VECTORS names.
package vectortest

import (
	"os"
	"path/filepath"
	"testing"
)

// Files returns the files with vectors in a folder, of which there must be some, and in the
// one of SWITCHBOARD_VECTORS. They may be of any protocol.
func Files(t testing.TB, folder string) []string {
	t.Helper()
	files := glob(t, folder)
	if more := os.Getenv("SWITCHBOARD_VECTORS"); more != "" {
		files = append(files, glob(t, more)...)
	}
	return files
}

func glob(t testing.TB, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*-vectors.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", folder, err)
	}
	return files
}
