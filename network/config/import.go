// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/switchboard-ipc/switchboard/internal/keyline"
)

// ImportJSON reads a network's file of vmnet-broker in JSON, and returns the network and the text of a file of
// ours. Its documented sample lacks a comma; a comma that is missing between two members is forgiven. An address in
// a subnet stands for the subnet. The error is an [*Error] about that file.
func ImportJSON(file string, data []byte) (*Network, []byte, error) {
	called, err := nameOf(file, ".json")
	if err != nil {
		return nil, nil, err
	}
	data = addCommas(data)
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	r := importer{at: keyline.New(), line: func() int { return 1 + bytes.Count(data[:min(int(d.InputOffset()), len(data))], []byte{'\n'}) }}
	value, err := r.json(d, "")
	if err == nil {
		if _, end := d.Token(); end != io.EOF {
			err = errors.New("there is more after its end")
		}
	}
	if err != nil {
		return nil, nil, &Error{File: file, Line: r.line(), Reason: "this is not JSON: " + err.Error(), Err: err}
	}
	return finishImport(file, called, value, r.at)
}

// ImportPlist is [ImportJSON] for an XML property list.
func ImportPlist(file string, data []byte) (*Network, []byte, error) {
	called, err := nameOf(file, ".plist")
	if err != nil {
		return nil, nil, err
	}
	if bytes.HasPrefix(data, []byte("bplist")) {
		return nil, nil, &Error{File: file, Reason: "this is a binary property list: convert it with plutil -convert xml1"}
	}
	d := xml.NewDecoder(bytes.NewReader(data))
	r := importer{at: keyline.New(), line: func() int { line, _ := d.InputPos(); return line }}
	value, err := r.plist(d)
	if err != nil {
		return nil, nil, &Error{File: file, Line: r.line(), Reason: "this is not a property list: " + err.Error(), Err: err}
	}
	return finishImport(file, called, value, r.at)
}

func finishImport(file, called string, value any, at keyline.Lines) (*Network, []byte, error) {
	values, ok := value.(map[string]any)
	if !ok {
		return nil, nil, &Error{File: file, Line: 1, Reason: fmt.Sprintf("this is %s, and must be a table of keys and values", kind(value))}
	}
	subnet, _ := values["subnet"].(string)
	mask, _ := values["mask"].(string)
	var bits int
	if a, err := netip.ParseAddr(subnet); err == nil && a.Is4() && maskBits("mask", mask, &bits) == nil {
		values["subnet"] = netip.PrefixFrom(a, bits).Masked().Addr().String()
	}
	n, err := build(file, called, values, at)
	if err != nil {
		return nil, nil, err
	}
	return n, n.TOML(), nil
}

// addCommas puts a comma after every value that another one follows without one.
func addCommas(data []byte) []byte {
	var out []byte
	complete, quoted, escaped := false, false, false
	for _, c := range data {
		switch {
		case quoted:
			switch {
			case escaped:
				escaped = false
			case c == '\\':
				escaped = true
			case c == '"':
				quoted, complete = false, true
			}
		case c == '"' || c == '{' || c == '[':
			if complete {
				end := len(bytes.TrimRight(out, " \t\r\n"))
				out = append(out[:end:end], append([]byte{','}, out[end:]...)...)
			}
			quoted, complete = c == '"', false
		case c == ',' || c == ':':
			complete = false
		case c != ' ' && c != '\t' && c != '\r' && c != '\n':
			complete = true
		}
		out = append(out, c)
	}
	return out
}

// maxDepth is how deep lists and tables may be in each other.
const maxDepth = 8

type importer struct {
	at    keyline.Lines
	line  func() int
	depth int
}

// enter counts a list or table that begins.
func (r *importer) enter() error {
	if r.depth++; r.depth > maxDepth {
		return errors.New("lists and tables are too deep in each other")
	}
	return nil
}

func (r *importer) json(d *json.Decoder, key string) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		return integer(t.String())
	case json.Delim:
		if err := r.enter(); err != nil {
			return nil, err
		}
		defer func() { r.depth-- }()
		if t == '[' {
			list := []any{}
			for d.More() {
				at := keyline.Element(key, len(list))
				v, err := r.json(d, at)
				if err != nil {
					return nil, err
				}
				r.at.Set(at, r.line())
				list = append(list, v)
			}
			_, err = d.Token()
			return list, err
		}
		table := map[string]any{}
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			if err := r.put(d, key, k.(string), table); err != nil {
				return nil, err
			}
		}
		_, err = d.Token()
		return table, err
	}
	return t, nil
}

func (r *importer) put(d *json.Decoder, prefix, key string, table map[string]any) error {
	if _, twice := table[key]; twice {
		return fmt.Errorf("%q is there twice", keyline.Clip(key))
	}
	r.at.Add(keyline.Join(prefix, key), r.line())
	v, err := r.json(d, keyline.Join(prefix, key))
	table[key] = v
	return err
}

// integer reads a whole number; one with a fraction stays what it is.
func integer(s string) (any, error) {
	if v, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64); err == nil {
		return v, nil
	}
	return strconv.ParseFloat(strings.TrimSpace(s), 64)
}
