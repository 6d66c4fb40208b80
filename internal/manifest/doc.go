// SPDX-License-Identifier: Apache-2.0

// Package manifest keeps what the running-process broker v1 keeps about daemons
// on disk (its protocol, section 12): cache manifests, one in the cache's folder
// and one in the user's registry, and identity files, the small alternative. What
// is in a manifest, and its hash, is the rule of protocol/envelope; here are the
// files.
package manifest
