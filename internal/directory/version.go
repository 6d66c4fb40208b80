// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"

	"github.com/Masterminds/semver/v3"
)

// MatchVersion says why a name's version does not meet a constraint, or nothing. "" asks for none.
func MatchVersion(name, version, constraint string) Refusal {
	if constraint == "" || constraint == version {
		return Refusal{}
	}
	want, err := semver.NewConstraint(constraint)
	if err != nil {
		return Refusal{Malformed, fmt.Sprintf("version constraint %q is malformed: write 1.2.3, ^1.2, ~1.2 or >=1.2,<2", constraint)}
	}
	have, err := semver.NewVersion(version)
	if err != nil || !want.Check(have) {
		return Refusal{Mismatch, fmt.Sprintf("name %q has version %q, and %q was asked for", name, version, constraint)}
	}
	return Refusal{}
}

// compareVersions orders versions: none is below all.
func compareVersions(a, b string) int {
	if a == b {
		return 0
	}
	va, errA := semver.NewVersion(a)
	vb, errB := semver.NewVersion(b)
	switch {
	case errA != nil && errB != nil:
		return 0
	case errA != nil:
		return -1
	case errB != nil:
		return 1
	}
	return va.Compare(vb)
}

// NewerVersion reports whether version a is newer than b.
func NewerVersion(a, b string) bool { return compareVersions(a, b) > 0 }
