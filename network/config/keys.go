// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// keys says in which line of a text each key is, in the words of a [fault].
type keys struct {
	lines map[string]int // "mtu", "allow_uid[1]", "dhcp_reservations[0].ip_address"; counted from 1
	order []string       // as in the text, without elements of lists
}

func newKeys() keys { return keys{lines: make(map[string]int)} }

// add notes a key, the first time that it is seen.
func (k *keys) add(key string, line int) {
	if _, ok := k.lines[key]; !ok {
		k.lines[key] = line
		k.order = append(k.order, key)
	}
}

// line returns the line of a key, or of what it is in, or the first.
func (k keys) line(key string) int {
	for {
		if line, ok := k.lines[key]; ok {
			return line
		}
		if key == "" {
			return 1
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
}

// findKeys reads a text that is known to be TOML.
func findKeys(data []byte) keys {
	f := finder{data: data, keys: newKeys(), line: 1, tables: make(map[string]int)}
	f.parser.Reset(data)
	table := ""
	for f.parser.NextExpression() {
		n := f.parser.Expression()
		switch n.Kind {
		case unstable.Table:
			table = f.path("", n.Key())
		case unstable.ArrayTable:
			parts := n.Key()
			list := f.path("", parts)
			table = element(list, f.tables[list])
			f.tables[list]++
			if first := n.Key(); first.Next() {
				f.keys.lines[table] = f.lineOf(first.Node())
			}
		case unstable.KeyValue:
			f.value(f.path(table, n.Key()), n.Value())
		}
	}
	return f.keys
}

type finder struct {
	parser unstable.Parser
	data   []byte
	keys   keys
	tables map[string]int // elements of each list of tables so far
	offset int            // up to where lines are counted
	line   int            // at offset
}

// path adds every part of a key and returns the whole.
func (f *finder) path(key string, parts unstable.Iterator) string {
	for parts.Next() {
		n := parts.Node()
		key = join(key, string(n.Data))
		f.keys.add(key, f.lineOf(n))
	}
	return key
}

// value adds what is in a list or an inline table.
func (f *finder) value(key string, n *unstable.Node) {
	inside := n.Children()
	switch n.Kind {
	case unstable.Array:
		for i := 0; inside.Next(); i++ {
			c := inside.Node()
			if c.Raw.Length > 0 {
				f.keys.lines[element(key, i)] = f.lineOf(c)
			}
			f.value(element(key, i), c)
		}
	case unstable.InlineTable:
		for inside.Next() {
			c := inside.Node()
			f.value(f.path(key, c.Key()), c.Value())
		}
	}
}

// lineOf returns the line that a node begins in. Nodes mostly come in the order of the text, and then
// no line is counted twice.
func (f *finder) lineOf(n *unstable.Node) int {
	at := int(n.Raw.Offset)
	if at < f.offset {
		f.offset, f.line = 0, 1
	}
	f.line += bytes.Count(f.data[f.offset:at], []byte{'\n'})
	f.offset = at
	return f.line
}
