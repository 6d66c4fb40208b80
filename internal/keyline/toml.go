// SPDX-License-Identifier: Apache-2.0

package keyline

import (
	"bytes"

	"github.com/pelletier/go-toml/v2/unstable"
)

// OfTOML reads a text that is known to be TOML.
func OfTOML(data []byte) Lines {
	f := finder{data: data, keys: New(), line: 1, tables: make(map[string]int)}
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
			table = Element(list, f.tables[list])
			f.tables[list]++
			if first := n.Key(); first.Next() {
				f.keys.Set(table, f.lineOf(first.Node()))
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
	keys   Lines
	tables map[string]int // elements of each list of tables so far
	offset int            // up to where lines are counted
	line   int            // at offset
}

// path adds every part of a key and returns the whole.
func (f *finder) path(key string, parts unstable.Iterator) string {
	for parts.Next() {
		n := parts.Node()
		key = Join(key, string(n.Data))
		f.keys.Add(key, f.lineOf(n))
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
				f.keys.Set(Element(key, i), f.lineOf(c))
			}
			f.value(Element(key, i), c)
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
