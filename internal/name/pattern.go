// SPDX-License-Identifier: Apache-2.0

package name

import (
	"fmt"
	"strings"
)

// Pattern selects names: one name, all names, or all below a name. Patterns
// can be compared with == and be keys of a map. The zero value matches nothing.
type Pattern struct {
	text  string
	reach reach
}

// reach is how far a pattern goes.
type reach uint8

const (
	exact reach = iota // the name that text is
	below              // every name that begins with text without its "*"
	all                // every name
)

// ParsePattern reads a pattern: "*" for all names, "com.example.*" for all
// below com.example (com.example.a and com.example.a.b, not com.example), else
// a name for itself. The error is an [*Error].
func ParsePattern(s string) (Pattern, error) {
	if s == "*" {
		return Pattern{text: s, reach: all}, nil
	}
	named, p := s, Pattern{text: s, reach: exact}
	if prefix, ok := strings.CutSuffix(s, ".*"); ok {
		named, p.reach = prefix, below
	}
	if fault, at := inspect(named); fault != "" {
		switch {
		case p.reach == below && named == "":
			fault = `has nothing before ".*"`
		case p.reach == below && at == 0 && len(named) <= Max:
			fault = fmt.Sprintf("has a reserved name, %q", named)
		}
		return Pattern{}, &Error{Text: s, Byte: at, subject: "pattern", fault: fault, rule: patternRule}
	}
	return p, nil
}

// Match reports whether the pattern selects name, which must be valid ([Check]).
func (p Pattern) Match(name string) bool {
	switch p.reach {
	case all:
		return true
	case below:
		prefix := p.text[:len(p.text)-1]
		return len(name) > len(prefix) && name[:len(prefix)] == prefix
	}
	return p.text == name && name != ""
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }
