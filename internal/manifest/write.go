// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// unknown stands for what cannot be found out about a host.
const unknown = "unknown"

var errNoRegistry = errors.New("there is no registry of manifests: no home folder is known")

// WriteRegistry seals a manifest and writes it into a registry, under its
// service and version. It returns the path.
func WriteRegistry(registry string, m envelope.CacheManifest) (string, error) {
	file, err := InRegistry(registry, m.ServiceName, m.ServiceVersion)
	if err != nil {
		return "", err
	}
	return file, Write(file, m)
}

// Write seals a manifest and writes it to a file, as [InCache] and [InRegistry]
// name them. Its folder is made if it is missing, and made private (0700), as the
// original does. At every moment, also of a power failure, the file is the old one or
// the new one.
func Write(file string, m envelope.CacheManifest) error {
	m.ManifestSchemaVersion = envelope.ManifestSchema
	data := m.Seal().Append(nil)
	if len(data) > envelope.MaxManifest {
		return fmt.Errorf("the manifest of %s has %d bytes: %d are the most", m.ServiceName, len(data), envelope.MaxManifest)
	}
	folder := filepath.Dir(file)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	if info.Mode().Perm() != 0o700 {
		if err := os.Chmod(folder, 0o700); err != nil {
			return err
		}
	}
	return replace(file, data)
}

// replace writes a file by way of a sibling: .{name}.tmp-{pid}-{nanos}, which nobody takes for one of its kind.
func replace(file string, data []byte) (err error) {
	folder, base := filepath.Split(file)
	sibling := fmt.Sprintf("%s.%s.tmp-%d-%d", folder, base, os.Getpid(), time.Now().UnixNano())
	f, err := os.OpenFile(sibling, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(sibling)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(sibling, file); err != nil {
		return err
	}
	// The file is in place now: what fails from here on must not remove it, and does not, since the sibling is gone.
	if folder == "" {
		folder = "."
	}
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
