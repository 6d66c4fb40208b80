// SPDX-License-Identifier: Apache-2.0

package vectortest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
)

// Values is an object of a vector, decoded with json.Decoder.UseNumber. What is read of it is
// taken out, so what nobody has looked at is left. A key that is not there is a zero value;
// a value of another type fails the test.
type Values map[string]any

// Take returns a value and removes it.
func (v Values) Take(key string) any {
	x := v[key]
	delete(v, key)
	return x
}

// Has reports whether there is a key.
func (v Values) Has(key string) bool { _, ok := v[key]; return ok }

// Text takes a string.
func (v Values) Text(t testing.TB, key string) string {
	t.Helper()
	return as[string](t, key, v.Take(key), "a string")
}

// List takes a list.
func (v Values) List(t testing.TB, key string) []any {
	t.Helper()
	return as[[]any](t, key, v.Take(key), "a list")
}

// Object takes an object.
func (v Values) Object(t testing.TB, key string) Values {
	t.Helper()
	return as[map[string]any](t, key, v.Take(key), "an object")
}

// Texts takes a list of what is written as texts.
func (v Values) Texts(t testing.TB, key string) (s []string) {
	t.Helper()
	for _, x := range v.List(t, key) {
		s = append(s, fmt.Sprint(x))
	}
	return s
}

// Int takes a number.
func (v Values) Int(t testing.TB, key string) int64 {
	t.Helper()
	x := as[json.Number](t, key, v.Take(key), "a number")
	if x == "" {
		return 0
	}
	n, err := x.Int64()
	if err != nil {
		t.Fatalf("%q: %v", key, err)
	}
	return n
}

// Uint takes a number that is not negative, or a text with one such as "0xAD01".
func (v Values) Uint(t testing.TB, key string) uint64 {
	t.Helper()
	x := v.Take(key)
	if x == nil {
		return 0
	}
	return Uint(t, x)
}

// Uint reads what Values.Uint takes.
func Uint(t testing.TB, x any) uint64 {
	t.Helper()
	var s string
	switch x := x.(type) {
	case json.Number:
		s = x.String()
	case string:
		s = x
	default:
		t.Fatalf("not a number: %v", x)
	}
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func as[T any](t testing.TB, key string, x any, what string) T {
	t.Helper()
	typed, ok := x.(T)
	if x != nil && !ok {
		t.Fatalf("%q is not %s: %v", key, what, x)
	}
	return typed
}
