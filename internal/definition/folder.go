// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/switchboard-ipc/switchboard/internal/keyline"
)

// systemFolder has the definitions of a machine's administrator.
const systemFolder = "/etc/switchboard/services"

// File is a definition file that a folder has, read or not.
type File struct {
	Path    string
	Name    string // from the file's name; not always a valid one
	Version string // from the file's name; "" if it has none
}

// Folders returns where definitions are looked for, the first first: the extra
// ones, the user's ($XDG_CONFIG_HOME/switchboard/services, by default in
// $HOME/.config), the machine's. Extra ones should be absolute paths.
func Folders(extra []string, getenv func(string) string) []string {
	var folders []string
	for _, folder := range extra {
		folders = append(folders, filepath.Clean(folder))
	}
	config := getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(config) { // also the base directory specification ignores a relative one
		config = ""
		if home := getenv("HOME"); filepath.IsAbs(home) {
			config = filepath.Join(home, ".config")
		}
	}
	if config != "" {
		folders = append(folders, filepath.Join(config, "switchboard", "services"))
	}
	return append(folders, systemFolder)
}

// List returns the definition files of the folders, in the order of the folders
// and, in a folder, of the files' names. A file hides those with the same file
// name in later folders. Files whose name is not right are in the list too
// ([Load] refuses them); those that begin with a dot are not. A missing folder is
// an empty one. The error is about the folders that cannot be read, each an
// [*Error]; what the others have is returned with it.
func List(folders []string) ([]File, error) {
	var all []File
	var errs []error
	hidden := make(map[string]bool)
	for _, folder := range folders {
		files, err := listFolder(folder)
		if err != nil {
			errs = append(errs, err)
		}
		all = appendVisible(all, files, hidden)
	}
	return all, errors.Join(errs...)
}

// appendVisible appends the files that none before them hides.
func appendVisible(all, files []File, hidden map[string]bool) []File {
	for _, f := range files {
		base := filepath.Base(f.Path)
		if !hidden[base] {
			hidden[base] = true
			all = append(all, f)
		}
	}
	return all
}

// listFolder returns the definition files of one folder, sorted.
func listFolder(folder string) ([]File, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, keyline.SystemError(folder, "read the folder", err)
	}
	var files []File
	for _, e := range entries {
		stem, ok := strings.CutSuffix(e.Name(), Suffix)
		if !ok || strings.HasPrefix(stem, ".") || stem == "" {
			continue
		}
		f := File{Path: filepath.Join(folder, e.Name())}
		f.Name, f.Version, _ = strings.Cut(stem, "@")
		files = append(files, f)
	}
	return files, nil
}
