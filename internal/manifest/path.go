// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"path/filepath"

	"github.com/switchboard-ipc/switchboard/internal/host"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// EnvFolder is the variable that names the registry.
const EnvFolder = "RUNNING_PROCESS_MANIFEST_DIR"

const (
	// rootFile is the manifest in a cache's own folder.
	rootFile = ".running-process-manifest.pb"
	// suffix is how files of the registry end.
	suffix = ".pb"
)

// Registry returns where manifests are on a system ("linux", "darwin",
// "windows"), for a user with this home and these variables:
//
//	RUNNING_PROCESS_MANIFEST_DIR, if it is set
//	Linux    $XDG_DATA_HOME/running-process/manifests, else in $HOME/.local/share
//	macOS    $HOME/Library/Application Support/running-process/manifests
//	Windows  %APPDATA%\running-process\manifests
//
// An empty variable is one that is not set, and XDG_DATA_HOME must be absolute.
// Without a home either there is no registry: "". (Section 12.)
func Registry(getenv func(string) string, home, goos string) string {
	return host.Folder{Override: EnvFolder, XDG: "XDG_DATA_HOME", Home: ".local/share", Leaf: "manifests"}.In(getenv, home, goos)
}

// InRegistry returns the path of a daemon's manifest in a registry:
// {registry}/{service}-{version}.pb. Both must be valid (section 5).
func InRegistry(registry, service, version string) (string, error) {
	if registry == "" {
		return "", errNoRegistry
	}
	if err := envelope.CheckName(service); err != nil {
		return "", err
	}
	if err := envelope.CheckVersion(version); err != nil {
		return "", err
	}
	return filepath.Join(registry, service+"-"+version+suffix), nil
}

// InCache returns the path of the manifest in a cache's own folder.
func InCache(folder string) string { return filepath.Join(folder, rootFile) }
