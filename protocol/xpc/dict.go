// SPDX-License-Identifier: Apache-2.0

package xpc

import (
	"errors"
	"fmt"
	"math"
)

// Dict is a dictionary. It keeps the order of its entries; a key is in it once.
type Dict []Entry

// Entry is one entry of a dictionary.
type Entry struct {
	Key   string
	Value Value
}

// Set gives a key its value: where it is, or else at the end.
func (d *Dict) Set(key string, v Value) {
	for i := range *d {
		if (*d)[i].Key == key {
			(*d)[i].Value = v
			return
		}
	}
	*d = append(*d, Entry{Key: key, Value: v})
}

// Get returns the value of a key, or nil if there is none.
func (d Dict) Get(key string) Value {
	for i := range d {
		if d[i].Key == key {
			return d[i].Value
		}
	}
	return nil
}

// Has reports whether there is a key.
func (d Dict) Has(key string) bool { return d.Get(key) != nil }

// ErrMissing is a key that is not in a dictionary.
var ErrMissing = errors.New("the key is missing")

// KeyError is a key that is missing, which is ErrMissing, or whose value is not
// of the type wanted.
type KeyError struct {
	Key  string
	Want Type
	Got  Type // 0: the key is missing
	Why  string
}

func (e *KeyError) Error() string {
	switch {
	case e.Got == 0:
		return fmt.Sprintf("key %q: missing, want %s", e.Key, e.Want)
	case e.Why != "":
		return fmt.Sprintf("key %q: %s", e.Key, e.Why)
	}
	return fmt.Sprintf("key %q: %s, want %s", e.Key, e.Got, e.Want)
}

// Unwrap returns ErrMissing if that is what it is.
func (e *KeyError) Unwrap() error {
	if e.Got == 0 {
		return ErrMissing
	}
	return nil
}

// Get returns the value of a key that is of a type, for example
// Get[MachSend](d, "port"). The error is a [*KeyError].
func Get[T Value](d Dict, key string) (T, error) {
	v := d.Get(key)
	if t, ok := v.(T); ok {
		return t, nil
	}
	var none T
	e := &KeyError{Key: key, Want: none.Type()}
	if v != nil {
		e.Got = v.Type()
	}
	return none, e
}

// String returns the text of a key.
func (d Dict) String(key string) (string, error) {
	v, err := Get[String](d, key)
	return string(v), err
}

// Bool returns the truth of a key.
func (d Dict) Bool(key string) (bool, error) {
	v, err := Get[Bool](d, key)
	return bool(v), err
}

// Int returns the number of a key, of either kind of integer.
func (d Dict) Int(key string) (int64, error) {
	if v, ok := d.Get(key).(Uint64); ok {
		if v > math.MaxInt64 {
			return 0, &KeyError{Key: key, Want: TypeInt64, Got: TypeUint64, Why: "larger than an int64 can be"}
		}
		return int64(v), nil
	}
	v, err := Get[Int64](d, key)
	return int64(v), err
}

// Uint returns the number of a key, of either kind of integer, that is not
// negative.
func (d Dict) Uint(key string) (uint64, error) {
	if v, ok := d.Get(key).(Int64); ok {
		if v < 0 {
			return 0, &KeyError{Key: key, Want: TypeUint64, Got: TypeInt64, Why: "negative"}
		}
		return uint64(v), nil
	}
	v, err := Get[Uint64](d, key)
	return uint64(v), err
}

// Double returns the floating point number of a key.
func (d Dict) Double(key string) (float64, error) {
	v, err := Get[Double](d, key)
	return float64(v), err
}

// Date returns the nanoseconds since 1970 of a key.
func (d Dict) Date(key string) (int64, error) {
	v, err := Get[Date](d, key)
	return int64(v), err
}

// Data returns the bytes of a key.
func (d Dict) Data(key string) ([]byte, error) {
	v, err := Get[Data](d, key)
	return v, err
}

// UUID returns the 16 bytes of a key.
func (d Dict) UUID(key string) ([16]byte, error) {
	v, err := Get[UUID](d, key)
	return v, err
}

// Array returns the array of a key.
func (d Dict) Array(key string) (Array, error) { return Get[Array](d, key) }

// Dict returns the dictionary of a key.
func (d Dict) Dict(key string) (Dict, error) { return Get[Dict](d, key) }

// keys notices a key that comes a second time.
type keys struct {
	large map[string]struct{}
}

// few is how many keys are compared one by one.
const few = 16

// add reports whether the key is new. more is how many keys are to come at most.
func (k *keys) add(d Dict, key string, more int) bool {
	if len(d) < few {
		return !d.Has(key)
	}
	if k.large == nil {
		k.large = make(map[string]struct{}, len(d)+more)
		for i := range d {
			k.large[d[i].Key] = struct{}{}
		}
	}
	if _, ok := k.large[key]; ok {
		return false
	}
	k.large[key] = struct{}{}
	return true
}
