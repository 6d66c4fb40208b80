// SPDX-License-Identifier: Apache-2.0

// Package project finds the folder of the project that a folder belongs to.
package project

import (
	"os"
	"path/filepath"
)

// Markers are what the usual version control systems have at the top of a project.
func Markers() []string { return []string{".git", ".hg", ".jj", ".svn"} }

// Folder returns the project folder that an absolute path of a folder is in:
// the nearest of itself and its parents that has a file or folder with the name
// of one of the markers, or, if there is none, the folder itself. Without markers
// those of Markers count. The path is cleaned; symbolic links in it are left as
// they are.
func Folder(folder string, markers []string) string {
	if len(markers) == 0 {
		markers = Markers()
	}
	folder = filepath.Clean(folder)
	for at := folder; ; {
		for _, m := range markers {
			if _, err := os.Lstat(filepath.Join(at, m)); err == nil {
				return at
			}
		}
		parent := filepath.Dir(at)
		if parent == at {
			return folder
		}
		at = parent
	}
}
