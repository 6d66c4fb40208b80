// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// schemaVersion is that of all JSON bodies.
const schemaVersion = 1

// head is what all JSON bodies begin with.
type head struct {
	SchemaVersion   int    `json:"schema_version"`
	Command         string `json:"command"`
	GeneratedUnixMS uint64 `json:"generated_at_unix_ms"`
}

func headOf(command string, s Snapshot) head { return head{schemaVersion, command, s.GeneratedUnixMS} }

// encode makes a body: one line without its end, as the original's.
func encode(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		// Only a Setting's value can be at fault. A body that is not JSON would tell less than one that says why.
		text, _ := json.Marshal(map[string]any{"schema_version": schemaVersion, "error": fmt.Sprint(err)})
		return string(text)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// float is a number whose JSON shows that it is no integer: 12 is 12.0, since readers with types tell them apart.
type float float64

// MarshalJSON never fails: what is no number is 0.
func (f float) MarshalJSON() ([]byte, error) {
	v := float64(f)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		v = 0
	}
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return []byte(text), nil
}

// share is part of whole, 0 of nothing.
func share(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// optional is nil for an empty string: JSON's null.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
