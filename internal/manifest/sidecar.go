// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// Identity is what an identity file says: which process a daemon is.
type Identity struct {
	Process envelope.DaemonProcess
	SHA256  [32]byte // of the executable, for readers that know no BLAKE3; zero if the file has none
}

// identityFile is the JSON of section 12. Bytes are lists of numbers, as the original writes them.
type identityFile struct {
	PID             uint32       `json:"pid"`
	ExePath         string       `json:"exe_path"`
	ExeHashKind     string       `json:"exe_hash_algorithm"`
	ExeHash         digest       `json:"exe_hash"`
	SHA256          digest       `json:"legacy_exe_sha256"`
	BootID          string       `json:"boot_id"`
	Endpoint        endpointJSON `json:"ipc_endpoint"`
	StartedAtUnixMS uint64       `json:"started_at_unix_ms"`
	IdleTimeoutSecs *uint32      `json:"idle_timeout_secs"`
}

type endpointJSON struct {
	NamespaceID string `json:"namespace_id"`
	Path        string `json:"path"`
}

// digest is 32 bytes, in JSON a list of 32 numbers (which Go makes of an array, and not of a slice).
type digest [32]byte

// UnmarshalJSON refuses a list of another length, which the standard library would cut or fill up.
func (d *digest) UnmarshalJSON(data []byte) error {
	var numbers []uint16 // of bytes, the library expects base64
	if err := json.Unmarshal(data, &numbers); err != nil {
		return err
	}
	if len(numbers) != len(d) {
		return fmt.Errorf("a digest has %d bytes, not %d", len(d), len(numbers))
	}
	for i, n := range numbers {
		if n > 255 {
			return fmt.Errorf("%d is not a byte", n)
		}
		d[i] = byte(n)
	}
	return nil
}

// WriteIdentity writes an identity file. Its folder must exist. At every moment
// the file is the old one or the new one.
func WriteIdentity(file string, id Identity) error {
	p := id.Process
	if p.IPCEndpoint == nil {
		return errors.New("an identity file needs the process's endpoint")
	}
	out := identityFile{
		PID: p.PID, ExePath: p.ExePath, ExeHashKind: p.ExeHashAlgorithm, SHA256: id.SHA256, BootID: p.BootID,
		Endpoint: endpointJSON{p.IPCEndpoint.NamespaceID, p.IPCEndpoint.Path}, StartedAtUnixMS: p.StartedAtUnixMS, IdleTimeoutSecs: p.IdleTimeoutSecs,
	}
	if copy(out.ExeHash[:], p.ExeHash) != len(out.ExeHash) || len(p.ExeHash) != len(out.ExeHash) {
		return fmt.Errorf("the hash of the executable has %d bytes, not %d", len(p.ExeHash), len(out.ExeHash))
	}
	data, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	return replace(file, data)
}

// ReadIdentity reads an identity file. A missing one is fs.ErrNotExist; a broken
// one is an error too, which a caller who has another way to find out may pass over.
func ReadIdentity(file string) (Identity, error) {
	data, err := readFile(file)
	if err != nil {
		return Identity{}, err
	}
	var in identityFile
	if err := json.Unmarshal(data, &in); err != nil {
		return Identity{}, fmt.Errorf("%s: %w", file, err)
	}
	if in.PID == 0 || in.Endpoint.Path == "" || in.ExeHash == (digest{}) {
		return Identity{}, fmt.Errorf("%s lacks the process, its endpoint or the hash of its executable", file)
	}
	return Identity{
		Process: envelope.DaemonProcess{
			PID: in.PID, ExePath: in.ExePath, ExeHashAlgorithm: in.ExeHashKind, ExeHash: in.ExeHash[:], BootID: in.BootID,
			IPCEndpoint:     &envelope.Endpoint{NamespaceID: in.Endpoint.NamespaceID, Path: in.Endpoint.Path},
			StartedAtUnixMS: in.StartedAtUnixMS, IdleTimeoutSecs: in.IdleTimeoutSecs,
		},
		SHA256: in.SHA256,
	}, nil
}

// RemoveIdentity removes an identity file, as a daemon does when it ends. A missing one is no error.
func RemoveIdentity(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
