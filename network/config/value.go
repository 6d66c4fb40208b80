// SPDX-License-Identifier: Apache-2.0

package config

import (
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/keyline"
)

// text takes a value that must be a text with something in it.
func text(key string, value any, to *string) *fault {
	s, ok := value.(string)
	switch {
	case !ok:
		return faultf(key, "%s is %s, and must be a text in quotes", keyline.Clip(key), kind(value))
	case s == "":
		return faultf(key, "%s is empty: give it a value, or leave it out", keyline.Clip(key))
	}
	*to = s
	return nil
}

// flag takes true or false.
func flag(key string, value any, to *bool) *fault {
	b, ok := value.(bool)
	if !ok {
		return faultf(key, "%s is %s, and must be true or false", key, kind(value))
	}
	*to = b
	return nil
}

// number takes a whole number of a range.
func number(key string, value any, least, most int64, to *int64) *fault {
	v, ok := value.(int64)
	switch {
	case !ok:
		return faultf(key, "%s is %s, and must be a whole number", key, kind(value))
	case v < least || v > most:
		return faultf(key, "%s is %d, and must be from %d to %d", key, v, least, most)
	}
	*to = v
	return nil
}

func port(key string, value any, to *uint16) *fault {
	var v int64
	if f := number(key, value, 1, math.MaxUint16, &v); f != nil {
		return f
	}
	*to = uint16(v)
	return nil
}

// address takes an IP address in quotes.
func address(key string, value any, to *netip.Addr) *fault {
	var s string
	if f := text(key, value, &s); f != nil {
		return f
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return faultf(key, "%s is %q, which is not an IP address", key, keyline.Clip(s))
	}
	*to = a
	return nil
}

func address4(key string, value any, to *netip.Addr) *fault {
	if f := address(key, value, to); f != nil {
		return f
	}
	if !to.Is4() {
		return faultf(key, "%s is %s, and must be an IPv4 address", key, *to)
	}
	return nil
}

// maskBits takes an IPv4 mask such as "255.255.255.0".
func maskBits(key string, value any, to *int) *fault {
	var a netip.Addr
	if f := address4(key, value, &a); f != nil {
		return f
	}
	ones, bits := net.IPMask(a.AsSlice()).Size()
	if bits == 0 {
		return faultf(key, `%s is %s, whose bits are not in a row: write one such as "255.255.255.0"`, key, a)
	}
	*to = ones
	return nil
}

func mac(key string, value any, to *[6]byte) *fault {
	var s string
	if f := text(key, value, &s); f != nil {
		return f
	}
	m, err := net.ParseMAC(s)
	switch {
	case err != nil || len(m) != len(to):
		return faultf(key, `%s is %q, and must be a MAC address such as "52:54:00:12:34:56"`, key, keyline.Clip(s))
	case m[0]&1 != 0:
		return faultf(key, "%s is %q, which is a group's address and no guest's: its first byte must be even", key, s)
	case [6]byte(m) == [6]byte{}:
		return faultf(key, "%s is %q, which is nobody's address", key, s)
	}
	*to = [6]byte(m)
	return nil
}

// ids takes a list of users' or groups' numbers.
func ids(key string, value any, to *[]uint32) *fault {
	values, ok := value.([]any)
	if !ok {
		return faultf(key, "%s is %s, and must be a list of numbers, such as [1000, 1001]", key, kind(value))
	}
	if len(values) == 0 {
		return faultf(key, "%s is empty, which would let nobody in: name somebody, or leave it out to let everybody in", key)
	}
	for i, v := range values {
		var id int64
		if f := number(keyline.Element(key, i), v, 0, math.MaxUint32-1, &id); f != nil {
			return f
		}
		*to = append(*to, uint32(id))
	}
	return nil
}

// maxDelay is the longest removal delay that is not [Never].
const maxDelay = 365 * 24 * time.Hour

// delay takes a time such as "2m", a number of seconds, or "never".
func delay(key string, value any, to *time.Duration) *fault {
	const rule = `write one such as "30s" or "5m", seconds such as 30, 0 for at once, or "never"`
	if _, ok := value.(int64); ok {
		var seconds int64
		f := number(key, value, 0, int64(maxDelay/time.Second), &seconds)
		*to = time.Duration(seconds) * time.Second
		return f
	}
	s, ok := value.(string)
	if !ok {
		return faultf(key, "%s is %s, and must be a time: %s", key, kind(value), rule)
	}
	if s == "never" {
		*to = Never
		return nil
	}
	v, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return faultf(key, "%s is %q, which is not a time: %s", key, keyline.Clip(s), rule)
	case v < 0:
		return faultf(key, "%s is %s, and a time cannot be negative: %s", key, v, rule)
	case v > maxDelay:
		return faultf(key, `%s is %s, and can be a year at most: write "never" for ever`, key, v)
	}
	*to = v
	return nil
}

// tables takes a list of tables.
func tables(key string, value any, set func(prefix string, values map[string]any) *fault) *fault {
	list, ok := value.([]any)
	if !ok {
		return faultf(key, "%s is %s, and must be a list of tables: write each under [[%s]]", key, kind(value), key)
	}
	for i, v := range list {
		t, ok := v.(map[string]any)
		if !ok {
			return faultf(keyline.Element(key, i), "%s has %s at place %d, and must be a list of tables: write each under [[%s]]", key, kind(v), i+1, key)
		}
		if f := set(keyline.Element(key, i), t); f != nil {
			return f
		}
	}
	return nil
}

// kind says what a value is, for people.
func kind(value any) string {
	switch value.(type) {
	case string:
		return "a text"
	case int64:
		return "a number"
	case float64:
		return "a number with a fraction"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	case nil:
		return "nothing"
	}
	return "a date or time"
}
