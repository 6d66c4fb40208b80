// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Constants of manifests (section 12).
const (
	ManifestSchema    = 1
	ManifestMediaType = "application/vnd.running-process.cache-manifest.v1"
	MaxManifest       = 1 << 20 // bytes: what a reader of manifests should take at most
)

// fieldSelfSHA256 is the field that the hash leaves out.
const fieldSelfSHA256 = 102

// ErrCorruption means that a manifest does not match its hash, or has none.
var ErrCorruption = errors.New("manifest does not match its hash")

// SchemaError means that a manifest is of a newer schema.
type SchemaError struct{ Got, Supported uint32 }

func (e *SchemaError) Error() string {
	return fmt.Sprintf("manifest schema %d is too new: %d is supported", e.Got, e.Supported)
}

// Seal fills the media type if it is missing, and the hash: the SHA-256 of the
// message without it, with maps in the order of their keys.
func (m CacheManifest) Seal() CacheManifest {
	if m.MediaType == "" {
		m.MediaType = ManifestMediaType
	}
	m.SelfSHA256 = m.digest()
	return m
}

func (m CacheManifest) digest() []byte {
	m.SelfSHA256 = nil
	sum := sha256.Sum256(m.Append(nil))
	return sum[:]
}

// CheckManifest reads a manifest and compares its hash, which must be that of b
// without the hash, whatever the order of maps and with fields that are
// unknown here; or that of the known fields, written anew, as the original's
// readers compute it. Errors: *SchemaError, ErrCorruption, and those of
// ParseCacheManifest.
func CheckManifest(b []byte) (CacheManifest, error) {
	m, err := ParseCacheManifest(b)
	switch {
	case err != nil:
		return m, err
	case m.ManifestSchemaVersion > ManifestSchema:
		return m, &SchemaError{m.ManifestSchemaVersion, ManifestSchema}
	}
	if stored := sha256.Sum256(unsealed(b)); !bytes.Equal(m.SelfSHA256, stored[:]) && !bytes.Equal(m.SelfSHA256, m.digest()) {
		return m, ErrCorruption
	}
	return m, nil
}

// unsealed returns the bytes of a manifest, which can be parsed, without its hash.
func unsealed(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		num, _, n := protowire.ConsumeField(b)
		if num != fieldSelfSHA256 {
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	return out
}
