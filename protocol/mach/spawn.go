// SPDX-License-Identifier: Apache-2.0

package mach

import "bytes"

// Sizes of a Spawn in bytes: of what precedes its strings, and of a message at most
// (section 9).
const (
	spawnHead = 44
	MaxSpawn  = 16 << 10
)

// Launch is the program that a Spawn starts.
type Launch struct {
	Flags uint32
	Path  string
	Args  []string // with the program's own name
	Env   []string // KEY=value
}

func (r *Request) spawn(c *codec) {
	c.ndr()
	c.uint32(&r.Launch.Flags)
	argc, envc, size := uint16(len(r.Launch.Args)), uint16(len(r.Launch.Env)), uint32(0)
	if c.writing {
		size = r.Launch.size(c)
		if c.code != OK {
			return
		}
	}
	c.uint16(&argc)
	c.uint16(&envc)
	c.uint32(&size)
	if c.writing {
		r.Launch.write(c)
		return
	}
	r.Launch.read(c, int(argc), int(envc), size)
}

// size returns how many bytes the strings take, without padding.
func (l *Launch) size(c *codec) uint32 {
	n := len(l.Path) + 1
	valid := l.Path != "" && bytes.IndexByte([]byte(l.Path), 0) < 0
	for _, list := range [][]string{l.Args, l.Env} {
		for _, s := range list {
			n += len(s) + 1
			valid = valid && bytes.IndexByte([]byte(s), 0) < 0
		}
	}
	if !valid || spawnHead+padded(n) > MaxSpawn {
		c.fail(InvalidArgument, "the program cannot be written")
	}
	return uint32(n)
}

func padded(n int) int { return (n + 3) &^ 3 }

func (l *Launch) write(c *codec) {
	start := len(c.b)
	c.b = append(append(c.b, l.Path...), 0)
	for _, list := range [][]string{l.Args, l.Env} {
		for _, s := range list {
			c.b = append(append(c.b, s...), 0)
		}
	}
	n := len(c.b) - start
	c.b = append(c.b, make([]byte, padded(n)-n)...)
}

// read takes the strings: as many as announced, in as many bytes, and padding of
// less than four zeros.
func (l *Launch) read(c *codec, argc, envc int, size uint32) {
	switch {
	case spawnHead+len(c.b) > MaxSpawn:
		c.fail(InvalidArgument, "the message is longer than 16 KiB")
		return
	case uint64(size) > uint64(len(c.b)) || padded(int(size)) != len(c.b):
		c.fail(InvalidArgument, "the byte count is not that of the strings")
		return
	}
	strings, padding := c.b[:size], c.b[size:]
	if len(bytes.Trim(padding, "\x00")) > 0 || bytes.Count(strings, []byte{0}) != 1+argc+envc || strings[size-1] != 0 {
		c.fail(InvalidArgument, "the strings are not those announced")
		return
	}
	next := func() string {
		s, rest, _ := bytes.Cut(strings, []byte{0})
		strings = rest
		return string(s)
	}
	if l.Path = next(); l.Path == "" {
		c.fail(InvalidArgument, "the path is empty")
		return
	}
	for range argc {
		l.Args = append(l.Args, next())
	}
	for range envc {
		l.Env = append(l.Env, next())
	}
}
