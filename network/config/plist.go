// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/switchboard-ipc/switchboard/internal/keyline"
)

// plist reads the one value of a property list.
func (r *importer) plist(d *xml.Decoder) (any, error) {
	root, err := nextElement(d)
	if err != nil || root == nil || root.Name.Local != "plist" {
		return nil, errors.Join(errors.New("it does not begin with <plist>"), err)
	}
	start, err := nextElement(d)
	if err != nil || start == nil {
		return nil, errors.Join(errors.New("<plist> has no value"), err)
	}
	v, err := r.plistValue(d, *start, "")
	if err != nil {
		return nil, err
	}
	if more, err := nextElement(d); err != nil || more != nil {
		return nil, errors.Join(errors.New("<plist> has more than one value"), err)
	}
	for {
		t, err := d.Token()
		if err == io.EOF {
			return v, nil
		}
		if err != nil {
			return nil, err
		}
		if s, ok := t.(xml.StartElement); ok {
			return nil, fmt.Errorf("<%s> follows the end of <plist>", keyline.Clip(s.Name.Local))
		}
	}
}

// nextElement returns the next element that begins, or nil at the end of the one it is in.
func nextElement(d *xml.Decoder) (*xml.StartElement, error) {
	for {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			return &t, nil
		case xml.EndElement:
			return nil, nil
		case xml.CharData:
			if strings.TrimSpace(string(t)) != "" {
				return nil, fmt.Errorf("there is text, %q, where an element belongs", keyline.Clip(strings.TrimSpace(string(t))))
			}
		}
	}
}

func (r *importer) plistValue(d *xml.Decoder, start xml.StartElement, key string) (any, error) {
	switch start.Name.Local {
	case "true", "false":
		if end, err := nextElement(d); err != nil || end != nil {
			return nil, errors.Join(fmt.Errorf("<%s> is not empty", start.Name.Local), err)
		}
		return start.Name.Local == "true", nil
	case "array":
		return r.plistArray(d, key)
	case "dict":
		return r.plistDict(d, key)
	case "string", "integer", "real":
		var s string
		if err := d.DecodeElement(&s, &start); err != nil {
			return nil, err
		}
		if start.Name.Local == "string" {
			return s, nil
		}
		return integer(s)
	}
	return nil, fmt.Errorf("<%s> is no value that a network's file has", keyline.Clip(start.Name.Local))
}

func (r *importer) plistArray(d *xml.Decoder, key string) (any, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer func() { r.depth-- }()
	list := []any{}
	for {
		start, err := nextElement(d)
		if err != nil || start == nil {
			return list, err
		}
		at := keyline.Element(key, len(list))
		r.at.Set(at, r.line())
		v, err := r.plistValue(d, *start, at)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
}

func (r *importer) plistDict(d *xml.Decoder, prefix string) (any, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer func() { r.depth-- }()
	table := map[string]any{}
	for {
		start, err := nextElement(d)
		if err != nil || start == nil {
			return table, err
		}
		var key string
		if start.Name.Local != "key" {
			return nil, fmt.Errorf("<%s> stands where a <key> belongs", keyline.Clip(start.Name.Local))
		}
		line := r.line()
		if err := d.DecodeElement(&key, start); err != nil {
			return nil, err
		}
		if _, twice := table[key]; twice {
			return nil, fmt.Errorf("%q is there twice", keyline.Clip(key))
		}
		r.at.Add(keyline.Join(prefix, key), line)
		if start, err = nextElement(d); err != nil || start == nil {
			return nil, errors.Join(fmt.Errorf("<key> %q has no value", keyline.Clip(key)), err)
		}
		if table[key], err = r.plistValue(d, *start, keyline.Join(prefix, key)); err != nil {
			return nil, err
		}
	}
}
