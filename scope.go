// SPDX-License-Identifier: Apache-2.0

package switchboard

import "github.com/switchboard-ipc/switchboard/internal/project"

// ScopeOf returns the folder of the project that dir belongs to, for [WithScope]: the nearest folder, from dir upwards, that has one of the
// markers (without any: .git, .hg, .jj, .svn), else dir itself. The path is absolute.
func ScopeOf(dir string, markers ...string) string {
	return project.Folder(absolute(dir), markers)
}
