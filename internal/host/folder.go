// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Folder is a folder of the user's below which running-process keeps something.
type Folder struct {
	Override string // a variable that names the whole path
	XDG      string // Linux: the variable of the base directory specification
	Home     string // Linux: what that is in the user's home by default
	Leaf     string // what is kept: the last part of the path
}

// In returns the path on a system ("linux", "darwin", "windows"), for a user with this
// home and these variables: that of Override, else running-process/Leaf below the base
// directory, below ~/Library/Application Support, or below %APPDATA%. An empty variable
// is one that is not set, and a relative base directory is ignored. Without a home there
// may be no folder: "".
func (f Folder) In(getenv func(string) string, home, goos string) string {
	if folder := getenv(f.Override); folder != "" {
		return folder
	}
	switch goos {
	case "windows":
		base := getenv("APPDATA")
		switch {
		case base != "":
		case home != "":
			base = strings.TrimRight(home, `\`) + `\AppData\Roaming`
		default:
			return ""
		}
		return strings.TrimRight(base, `\`) + `\running-process\` + f.Leaf
	case "darwin":
		if home == "" {
			return ""
		}
		return path.Join(home, "Library", "Application Support", "running-process", f.Leaf)
	}
	base := getenv(f.XDG)
	if !path.IsAbs(base) {
		if home == "" {
			return ""
		}
		base = path.Join(home, f.Home)
	}
	return path.Join(base, "running-process", f.Leaf)
}

// RuntimeDir returns $XDG_RUNTIME_DIR, or "" if it is not an absolute path: its specification says to ignore others.
func RuntimeDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return dir
	}
	return ""
}
