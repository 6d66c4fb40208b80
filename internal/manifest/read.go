// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// InsecureError is a registry that more than its owner may look into.
type InsecureError struct{ Folder string }

// Error says so.
func (e *InsecureError) Error() string {
	return "central manifest registry has insecure permissions: " + e.Folder
}

// Entry is one manifest file of a registry: what it says, or why it does not count.
type Entry struct {
	Path     string
	Manifest envelope.CacheManifest
	Err      error
}

// Read reads a manifest and checks its schema and its hash (envelope.CheckManifest,
// whose errors are behind that of Read). It has at most envelope.MaxManifest bytes.
func Read(file string) (envelope.CacheManifest, error) {
	data, err := readFile(file)
	if err != nil {
		return envelope.CacheManifest{}, err
	}
	m, err := envelope.CheckManifest(data)
	if err != nil {
		return envelope.CacheManifest{}, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

// Scan reads all manifests of a registry, by file name, those of other hosts and
// broken ones included. A missing registry is an empty one; one that is not
// private (mode & 0077) is an [*InsecureError].
func Scan(registry string) ([]Entry, error) {
	if registry == "" {
		return nil, nil
	}
	info, err := os.Stat(registry)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, &InsecureError{registry}
	}
	files, err := os.ReadDir(registry)
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), suffix) || strings.HasPrefix(f.Name(), ".") {
			continue
		}
		e := Entry{Path: filepath.Join(registry, f.Name())}
		if e.Manifest, e.Err = Read(e.Path); errors.Is(e.Err, fs.ErrNotExist) {
			continue // it went after the registry was listed
		}
		all = append(all, e)
	}
	return all, nil
}

// Enumerate returns the valid manifests of a registry that are of a host and its
// current boot (see [Matches]).
func Enumerate(registry string, host envelope.HostIdentity) ([]envelope.CacheManifest, error) {
	entries, err := Scan(registry)
	var all []envelope.CacheManifest
	for _, e := range entries {
		if e.Err == nil && Matches(e.Manifest, host) {
			all = append(all, e.Manifest)
		}
	}
	return all, err
}

// Matches says whether a manifest is of a host and its current boot: machine and
// boot id are equal, or the manifest's is empty.
func Matches(m envelope.CacheManifest, host envelope.HostIdentity) bool {
	h := m.Host
	return h == nil || (h.MachineID == "" || h.MachineID == host.MachineID) && (h.BootID == "" || h.BootID == host.BootID)
}

// readFile reads a regular file.
func readFile(file string) ([]byte, error) {
	// Without O_NONBLOCK, a pipe would be waited for.
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", file)
	}
	data, err := io.ReadAll(io.LimitReader(f, envelope.MaxManifest+1))
	if err == nil && len(data) > envelope.MaxManifest {
		err = fmt.Errorf("%s is larger than %d bytes", file, envelope.MaxManifest)
	}
	return data, err
}
