// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"fmt"

	"github.com/Masterminds/semver/v3"
)

// matches says why a name is not of the version and scope asked for, or nothing. "" asks for none.
func matches(l *lease, constraint, scope string) Refusal {
	if scope != "" && l.scope != "" && scope != l.scope {
		return Refusal{Mismatch, fmt.Sprintf("name %q is for %s, not for %s", l.name, l.scope, scope)}
	}
	return MatchVersion(l.name, l.version, constraint)
}

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
