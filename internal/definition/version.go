// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/switchboard-ipc/switchboard/internal/keyline"
)

// LowestVersion returns the version that a command on the spot gets when it is
// asked for by a constraint: the first version that the constraint names,
// completed with zeros, if it satisfies it.
//
//	"" → ""    "1.4.0" → "1.4.0"    "^1.2" → "1.2.0"    ">=1.2,<2" → "1.2.0"
//
// The error says to give an exact version.
func LowestVersion(constraint string) (string, error) {
	if constraint == "" || isVersion(constraint) {
		return constraint, nil
	}
	want, err := semver.NewConstraint(constraint)
	if err != nil {
		return "", fmt.Errorf("version constraint %q is malformed: write 1.2.3, ^1.2, ~1.2 or >=1.2,<2", keyline.Clip(constraint))
	}
	for _, word := range strings.FieldsFunc(constraint, separatesVersions) {
		version := complete(word)
		have, err := semver.StrictNewVersion(version)
		if err == nil && len(version) <= maxVersion && want.Check(have) {
			return version, nil
		}
	}
	return "", fmt.Errorf("no version named in the constraint %q satisfies it, so there is none to give a new instance: ask for an exact version, such as 1.4.0", keyline.Clip(constraint))
}

// separatesVersions says which characters of a constraint are not part of a version.
func separatesVersions(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r,|<>=!~^", r) }

// complete makes three numbers of "1", "v1.2", "1.x" or "1.2-beta.1".
func complete(word string) string {
	word = strings.TrimPrefix(word, "v")
	numbers, rest := word, ""
	if i := strings.IndexAny(word, "-+"); i >= 0 {
		numbers, rest = word[:i], word[i:]
	}
	parts := append(strings.Split(numbers, "."), "0", "0")[:max(3, strings.Count(numbers, ".")+1)]
	for i, p := range parts {
		if p == "x" || p == "X" || p == "*" {
			parts[i] = "0"
		}
	}
	return strings.Join(parts, ".") + rest
}
