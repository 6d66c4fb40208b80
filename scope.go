// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"os"
	"path/filepath"
)

// ScopeOf returns the folder of the project that dir belongs to, for [WithScope]: the nearest folder, from dir upwards, that has one of the
// markers (without any: .git, .hg, .jj, .svn), else dir itself. The path is absolute.
func ScopeOf(dir string, markers ...string) string {
	if len(markers) == 0 {
		markers = []string{".git", ".hg", ".jj", ".svn"}
	}
	dir = absolute(dir)
	for folder := dir; ; {
		for _, marker := range markers {
			if _, err := os.Lstat(filepath.Join(folder, marker)); err == nil {
				return folder
			}
		}
		above := filepath.Dir(folder)
		if above == folder {
			return dir
		}
		folder = above
	}
}
