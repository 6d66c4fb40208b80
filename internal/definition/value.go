// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/keyline"
)

// text takes a value that must be a text.
func text(key string, value any, to *string) *fault {
	s, ok := value.(string)
	if !ok {
		return faultf(key, "%s is %s, and must be a text in quotes", keyline.Clip(key), kind(value))
	}
	*to = s
	return nil
}

// nonEmpty takes a text for which "" would be the same as leaving it out.
func nonEmpty(key string, value any, to *string) *fault {
	if value == "" {
		return faultf(key, "%s is empty: give it a value, or leave it out", key)
	}
	return text(key, value, to)
}

// oneOf takes a text that is one of two words; "" is none.
func oneOf(key string, value any, to *bool, no, yes, rule string) *fault {
	var s string
	if f := text(key, value, &s); f != nil {
		return f
	}
	if s == "" || s != no && s != yes {
		return faultf(key, "%s is %q, but %s", key, keyline.Clip(s), rule)
	}
	*to = s == yes
	return nil
}

// list takes a list of texts.
func list(key string, value any, to *[]string) *fault {
	values, ok := value.([]any)
	if !ok {
		return faultf(key, `%s is %s, and must be a list of texts, such as ["a", "b"]`, key, kind(value))
	}
	words := make([]string, len(values))
	for i, v := range values {
		s, ok := v.(string)
		if !ok {
			return faultf(keyline.Element(key, i), "%s has %s at place %d, and all in it must be texts in quotes", key, kind(v), i+1)
		}
		words[i] = s
	}
	*to = words
	return nil
}

// duration takes a time such as "10s".
func duration(key string, value any, to *time.Duration) *fault {
	s, ok := value.(string)
	if !ok {
		return faultf(key, `%s is %s, and must be a time in quotes, such as "10s" or "5m"`, key, kind(value))
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return faultf(key, `%s is %q, which is not a time: write one such as "500ms", "10s" or "5m"`, key, keyline.Clip(s))
	}
	*to = v
	return nil
}

// table takes each key of a table, in the order of the text.
func table(key string, value any, order []string, example string, set func(key string, value any) *fault) *fault {
	values, ok := value.(map[string]any)
	if !ok {
		return faultf(key, "%s is %s, and must be a table, %s", key, kind(value), example)
	}
	return each(key+".", values, order, set)
}

// each sets every value of a table whose keys begin with prefix in the text, in the order of the text; it empties the table.
func each(prefix string, values map[string]any, order []string, set func(key string, value any) *fault) *fault {
	for _, path := range order {
		key, ok := strings.CutPrefix(path, prefix)
		if !ok {
			continue
		}
		if v, ok := values[key]; ok {
			delete(values, key)
			if f := set(key, v); f != nil {
				return f
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(values)) { // none, if the order is that of the whole text
		if f := set(key, values[key]); f != nil {
			return f
		}
	}
	return nil
}

// kind says what a value of TOML is, for people.
func kind(value any) string {
	switch value.(type) {
	case string:
		return "a text"
	case int64, float64:
		return "a number"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return "a date or time"
}
