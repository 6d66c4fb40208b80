// SPDX-License-Identifier: Apache-2.0

package xpc

import (
	"fmt"
	"strconv"
	"strings"
)

// Reason is the rule that a payload breaks, as section 7 calls it.
type Reason string

// The reasons.
const (
	ReasonTruncated Reason = "trunc"
	ReasonMagic     Reason = "magic"
	ReasonVersion   Reason = "version"
	ReasonRoot      Reason = "root"
	ReasonLength    Reason = "length"
	ReasonCount     Reason = "count"
	ReasonTrailing  Reason = "trailing"
	ReasonTag       Reason = "tag"
	ReasonBool      Reason = "bool"
	ReasonString    Reason = "string"
	ReasonKey       Reason = "key"
	ReasonPad       Reason = "pad"
	ReasonDuplicate Reason = "dup"
	ReasonDepth     Reason = "depth"
	ReasonRight     Reason = "right"
	ReasonLimit     Reason = "limit"
)

// Fault is a payload that is refused, or a value that cannot be written.
type Fault struct {
	Reason Reason
	Offset int    // in bytes from where what was read begins; when writing, how much was written
	Path   string // of the value, such as jobs[2].Label; empty: the root
	Why    string

	Token uint32 // of the message at fault, if it wants a reply
	Magic Magic  // of the message at fault, for the reply
}

func (f *Fault) Error() string {
	where := f.Path
	if where == "" {
		where = "the payload"
	}
	return fmt.Sprintf("cannot use %s at byte %d: %s (%s)", where, f.Offset, f.Why, f.Reason)
}

// Silent reports whether nobody waits for a reply: the message is to be dropped.
func (f *Fault) Silent() bool { return f.Token == 0 }

// Reply returns the answer to a message at fault. It is not to be sent if the
// fault is Silent.
func (f *Fault) Reply() Message {
	var root Dict
	root.Set("error", Int64(InvalidArgument))
	return Message{Kind: KindReply, Token: f.Token, Magic: f.Magic, Root: root}
}

// step is one element of a path: a key, or an index if it is not negative.
type step struct {
	key   string
	index int
}

// path returns the path whose steps are listed innermost first.
func path(steps []step) string {
	var s strings.Builder
	for i := len(steps) - 1; i >= 0; i-- {
		switch {
		case steps[i].index >= 0:
			s.WriteString("[" + strconv.Itoa(steps[i].index) + "]")
		case !plain(steps[i].key):
			s.WriteString("[" + strconv.Quote(steps[i].key) + "]")
		default:
			if s.Len() > 0 {
				s.WriteByte('.')
			}
			s.WriteString(steps[i].key)
		}
	}
	return s.String()
}

// plain reports whether a key reads the same without quotes.
func plain(key string) bool {
	for i := range len(key) {
		c := key[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return key != ""
}
