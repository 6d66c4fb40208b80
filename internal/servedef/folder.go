// SPDX-License-Identifier: Apache-2.0

package servedef

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/switchboard-ipc/switchboard/internal/host"
)

// EnvFolder is the variable that names the folder of definitions.
const EnvFolder = "RUNNING_PROCESS_SERVICE_DEF_DIR"

// How the files are named: {service}.servicedef. The second kind has one field more, and counts first.
const (
	Suffix   = ".servicedef"
	SuffixV2 = ".servicedef.v2"
)

// Folder returns where definitions are on a system ("linux", "darwin",
// "windows"), for a user with this home and these variables:
//
//	RUNNING_PROCESS_SERVICE_DEF_DIR, if it is set
//	Linux    $XDG_CONFIG_HOME/running-process/services, else in $HOME/.config
//	macOS    $HOME/Library/Application Support/running-process/services
//	Windows  %APPDATA%\running-process\services
//
// An empty variable is one that is not set, and XDG_CONFIG_HOME must be absolute.
// Without a home either there is no folder: "". (Section 11.)
func Folder(getenv func(string) string, home, goos string) string {
	return host.Folder{Override: EnvFolder, XDG: "XDG_CONFIG_HOME", Home: ".config", Leaf: "services"}.In(getenv, home, goos)
}

// File is a definition file that a folder has, valid or not.
type File struct {
	Service string // from the file's name; not always a valid one
	Path    string
	V2      bool // it ends with .servicedef.v2
}

// List returns the definition files of a folder, by service; one that is hidden,
// because the service has a .servicedef.v2 as well, is not among them. Files that
// begin with a dot are not, either. A missing folder is an empty one. Whether a
// file counts, [Load] says.
func List(folder string) ([]File, error) {
	if folder == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, systemError(err)
	}
	var files []File
	for _, e := range entries {
		service, v2, ok := named(e.Name())
		if ok && service != "" && !strings.HasPrefix(service, ".") {
			files = append(files, File{service, filepath.Join(folder, e.Name()), v2})
		}
	}
	slices.SortFunc(files, func(a, b File) int {
		switch order := strings.Compare(a.Service, b.Service); {
		case order != 0:
			return order
		case a.V2:
			return -1
		}
		return 1
	})
	return slices.CompactFunc(files, func(a, b File) bool { return a.Service == b.Service }), nil
}

// suffixes are how the names of definition files end, the first of them first. The original's tools write the long form.
var suffixes = []struct {
	text string
	v2   bool
}{{SuffixV2, true}, {".servedef.v2", true}, {Suffix, false}, {".servedef", false}}

// named reads the base name of a file: whose definition it is, and of which kind.
func named(base string) (service string, v2, ok bool) {
	for _, suffix := range suffixes {
		if service, ok = strings.CutSuffix(base, suffix.text); ok {
			return service, suffix.v2, true
		}
	}
	return "", false, false
}
