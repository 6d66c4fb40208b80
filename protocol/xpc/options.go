// SPDX-License-Identifier: Apache-2.0

package xpc

// Limits of payloads (section 7).
const (
	MaxPayload = 65536 // bytes
	MaxValues  = 4096  // values below the root
	MaxKey     = 255   // bytes of a key, without its NUL
	MaxRights  = 16    // of a message
	MaxDepth   = 128   // of containers; the root's is 0
)

// Options are limits for both directions, and what else may differ. A limit of 0
// is the one of section 7, and nil has them all.
type Options struct {
	Payload int
	Values  int
	Key     int
	Rights  int
	Depth   int

	// FileTransfers allows values of that type, which only RemoteXPC has.
	FileTransfers bool
}

// complete returns the options without zeros.
func (o *Options) complete() Options {
	var c Options
	if o != nil {
		c = *o
	}
	for _, l := range []struct {
		limit *int
		usual int
	}{{&c.Payload, MaxPayload}, {&c.Values, MaxValues}, {&c.Key, MaxKey}, {&c.Rights, MaxRights}, {&c.Depth, MaxDepth}} {
		if *l.limit <= 0 {
			*l.limit = l.usual
		}
	}
	return c
}
