// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"strconv"
	"strings"
)

// MaxName is how long the name of a service or instance may be, in bytes.
const MaxName = 64

// NameError means that something is no name, or no version.
type NameError struct {
	Value string
	Why   string
}

func (e *NameError) Error() string { return "invalid name " + quote(e.Value) + ": " + e.Why }

// ValidName reports whether s may name a service or an instance: 1 to 64 bytes
// of a-z, 0-9 and dashes (section 5).
func ValidName(s string) bool { return nameFault(s) == "" }

// CheckName returns a *NameError if s is not a ValidName.
func CheckName(s string) error { return nameError(s, nameFault(s)) }

func nameFault(s string) string {
	switch {
	case s == "":
		return "service name must be at least 1 character"
	case len(s) > MaxName:
		return "service name must be at most 64 characters"
	}
	for i := range len(s) {
		if b := s[i]; b != '-' && !lowerOrDigit(b) {
			return "service name must contain only [a-z0-9-]"
		}
	}
	return ""
}

func lowerOrDigit(b byte) bool { return b >= 'a' && b <= 'z' || b >= '0' && b <= '9' }

func nameError(s, why string) error {
	if why == "" {
		return nil
	}
	return &NameError{s, why}
}

// ValidVersion reports whether s is a version: three numbers with dots, and
// perhaps a dash and a tail of a-z, 0-9 and dots (section 5). How long it may be
// is not looked at.
func ValidVersion(s string) bool { return versionFault(s) == "" }

// CheckVersion returns a *NameError if s is not a ValidVersion.
func CheckVersion(s string) error { return nameError(s, versionFault(s)) }

func versionFault(s string) string {
	core, tail, tailed := strings.Cut(s, "-")
	rest := core
	for i := range 3 {
		part, next, more := strings.Cut(rest, ".")
		if !digits(part) {
			return "MAJOR/MINOR/PATCH must be non-empty digits"
		}
		if more != (i < 2) {
			return "version must be MAJOR.MINOR.PATCH"
		}
		rest = next
	}
	if !tailed {
		return ""
	}
	if tail == "" {
		return "prerelease must not be empty"
	}
	for i := range len(tail) {
		if b := tail[i]; b != '.' && !lowerOrDigit(b) {
			return "prerelease must contain only [a-z0-9.]"
		}
	}
	return ""
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// AtLeast reports whether the three numbers of version are not below those of
// floor; what follows them does not count. It is true if a number of either
// does not fit 64 bits, as in the original, or if either is no version.
func AtLeast(version, floor string) bool {
	v, ok1 := numbers(version)
	f, ok2 := numbers(floor)
	if !ok1 || !ok2 {
		return true
	}
	for i := range v {
		if v[i] != f[i] {
			return v[i] > f[i]
		}
	}
	return true
}

func numbers(s string) (n [3]uint64, ok bool) {
	s, _, _ = strings.Cut(s, "-")
	for i := range n {
		var part string
		var err error
		part, s, _ = strings.Cut(s, ".")
		if n[i], err = strconv.ParseUint(part, 10, 64); err != nil {
			return n, false
		}
	}
	return n, s == ""
}
