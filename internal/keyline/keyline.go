// SPDX-License-Identifier: Apache-2.0

// Package keyline says in which line of a configuration file each key is, and has the errors that name it.
package keyline

import (
	"fmt"
	"strings"
)

// Lines are the lines of keys, counted from 1. A key is written with all that it is in: "exec", "exec[1]", "restart.min",
// "dhcp_reservations[0].ip_address".
type Lines struct {
	lines map[string]int
	order []string
}

// New returns Lines without keys.
func New() Lines { return Lines{lines: make(map[string]int)} }

// IsZero reports whether there was no text at all.
func (l Lines) IsZero() bool { return l.lines == nil }

// Add notes a key, the first time that it is seen.
func (l *Lines) Add(key string, line int) {
	if !l.Has(key) {
		l.lines[key] = line
		l.order = append(l.order, key)
	}
}

// Set notes an element of a list, which has no place in the order.
func (l *Lines) Set(key string, line int) { l.lines[key] = line }

// Has reports whether a key was noted.
func (l Lines) Has(key string) bool {
	_, ok := l.lines[key]
	return ok
}

// Line returns the line of a key, or of what it is in, or the first.
func (l Lines) Line(key string) int {
	for {
		if line, ok := l.lines[key]; ok {
			return line
		}
		if key == "" {
			return 1
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
}

// Order returns the keys as they come in the text, without elements of lists.
func (l Lines) Order() []string { return l.order }

// Element is the key of an element of a list, counted from 0.
func Element(key string, i int) string { return fmt.Sprintf("%s[%d]", key, i) }

// Join is the key of what is in a table, of which "" is the outermost.
func Join(table, key string) string {
	if table == "" {
		return key
	}
	return table + "." + key
}
