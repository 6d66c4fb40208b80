// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"bytes"
	_ "embed"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"

	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// The codec is written by hand; these tests hold it against the specification,
// session.proto, and against protobuf's own implementation.

//go:embed session.proto
var specification string

// compile returns the specification, read by a protobuf compiler.
func compile(t testing.TB) protoreflect.FileDescriptor {
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"session.proto": specification}),
	}}
	files, err := compiler.Compile(t.Context(), "session.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0]
}

// goField returns the field of the struct that stands for a field of the
// specification: the same name but for case and underscores.
func goField(v reflect.Value, fd protoreflect.FieldDescriptor) reflect.Value {
	name := strings.ReplaceAll(string(fd.Name()), "_", "")
	return v.FieldByNameFunc(func(s string) bool { return strings.EqualFold(s, name) })
}

// same compares, field by field, a message of ours with one of protobuf's.
func same(got reflect.Value, want protoreflect.Message) error {
	fields := want.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		value, field := want.Get(fd), goField(got, fd)
		if err := sameValue(field, value, fd); err != nil {
			return fmt.Errorf("%s: %w", fd.Name(), err)
		}
	}
	return nil
}

func sameValue(field reflect.Value, value protoreflect.Value, fd protoreflect.FieldDescriptor) error {
	if fd.IsList() {
		list := value.List()
		if list.Len() != field.Len() {
			return fmt.Errorf("got %d elements, want %d", field.Len(), list.Len())
		}
		for i := range list.Len() {
			if err := sameOne(field.Index(i), list.Get(i), fd); err != nil {
				return fmt.Errorf("%d: %w", i, err)
			}
		}
		return nil
	}
	return sameOne(field, value, fd)
}

// sameOne is sameValue for what is no list, or is an element of one.
func sameOne(field reflect.Value, value protoreflect.Value, fd protoreflect.FieldDescriptor) error {
	ok := false
	switch fd.Kind() {
	case protoreflect.MessageKind:
		return same(field, value.Message())
	case protoreflect.StringKind:
		ok = field.String() == value.String()
	case protoreflect.BoolKind:
		ok = field.Bool() == value.Bool()
	case protoreflect.EnumKind:
		ok = field.Uint() == uint64(value.Enum())
	case protoreflect.BytesKind:
		b := field
		if b.Kind() == reflect.Array { // an identity: absent is zero
			copied := reflect.New(b.Type()).Elem()
			copied.Set(b)
			b = copied.Slice(0, b.Len())
			ok = b.Len() == 16 && field.IsZero() && len(value.Bytes()) == 0
		}
		ok = ok || bytes.Equal(b.Bytes(), value.Bytes())
	default:
		ok = field.Uint() == value.Uint()
	}
	if !ok {
		return fmt.Errorf("got %v, want %v", field, value)
	}
	return nil
}

// TestSpecification: the same messages with the same fields, of the same types.
func TestSpecification(t *testing.T) {
	t.Parallel()
	file := compile(t)
	if file.Package() != "switchboard.session.v1" {
		t.Errorf("package %s", file.Package())
	}
	messages := file.Messages()
	if messages.Len() != len(decoders()) {
		t.Errorf("%d messages specified, %d in decoders", messages.Len(), len(decoders()))
	}
	for i := range messages.Len() {
		md := messages.Get(i)
		zero, _ := decoderOf(t, string(md.Name())).parse(nil)
		v := reflect.ValueOf(zero)
		if v.NumField() != md.Fields().Len() {
			t.Errorf("%s: %d fields specified, %d in Go", md.Name(), md.Fields().Len(), v.NumField())
		}
		for i := range md.Fields().Len() {
			fd := md.Fields().Get(i)
			field := goField(v, fd)
			if !field.IsValid() {
				t.Errorf("%s: no field %s", md.Name(), fd.Name())
				continue
			}
			want := map[protoreflect.Kind][]reflect.Kind{
				protoreflect.Uint32Kind: {reflect.Uint32}, protoreflect.Uint64Kind: {reflect.Uint64}, protoreflect.BoolKind: {reflect.Bool},
				protoreflect.EnumKind: {reflect.Uint32}, protoreflect.StringKind: {reflect.String},
				protoreflect.BytesKind: {reflect.Slice, reflect.Array}, protoreflect.MessageKind: {reflect.Struct, reflect.Slice},
			}[fd.Kind()]
			if fd.IsList() {
				want = []reflect.Kind{reflect.Slice}
			}
			if !slices.Contains(want, field.Kind()) {
				t.Errorf("%s.%s is %v, specified as %v", md.Name(), fd.Name(), field.Type(), fd.Kind())
			}
		}
	}
}

// TestEnums: the numbers mean the same; texts of ours are names of theirs.
func TestEnums(t *testing.T) {
	t.Parallel()
	enums := compile(t).Enums()
	for i := range enums.Len() {
		ed := enums.Get(i)
		for j := range ed.Values().Len() {
			vd := ed.Values().Get(j)
			n := uint32(vd.Number())
			text, ok := map[protoreflect.Name]fmt.Stringer{
				"EntryKind": session.EntryKind(n), "State": session.State(n), "Accept": session.Accept(n), "ChangeKind": session.ChangeKind(n),
			}[ed.Name()]
			if !ok {
				t.Fatalf("no type for %s", ed.Name())
			}
			name := strings.ToUpper(strings.ReplaceAll(text.String(), " ", "_"))
			if !strings.HasSuffix(string(vd.Name()), "_"+name) && vd.Name() != "CHANGE_KIND_UNSPECIFIED" {
				t.Errorf("%s is %q", vd.Name(), text)
			}
		}
	}
}

// random draws a message that an encoder of ours could have written.
func random(t *rapid.T, md protoreflect.MessageDescriptor, label string) *dynamicpb.Message {
	m := dynamicpb.NewMessage(md)
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		label := label + "." + string(fd.Name())
		if fd.IsList() {
			list := m.Mutable(fd).List()
			for range rapid.IntRange(0, 3).Draw(t, label) {
				list.Append(randomElement(t, fd, label))
			}
			continue
		}
		var value protoreflect.Value
		switch fd.Kind() {
		case protoreflect.MessageKind:
			inner := random(t, fd.Message(), label)
			if proto.Size(inner) == 0 {
				continue
			}
			value = protoreflect.ValueOfMessage(inner)
		case protoreflect.StringKind:
			value = protoreflect.ValueOfString(rapid.String().Draw(t, label))
		case protoreflect.BoolKind:
			value = protoreflect.ValueOfBool(rapid.Bool().Draw(t, label))
		case protoreflect.EnumKind:
			value = protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.Int32Range(0, 1<<31-1).Draw(t, label)))
		case protoreflect.Uint32Kind:
			value = protoreflect.ValueOfUint32(rapid.Uint32().Draw(t, label))
		case protoreflect.Uint64Kind:
			value = protoreflect.ValueOfUint64(rapid.Uint64().Draw(t, label))
		case protoreflect.BytesKind:
			if fd.Name() == "preamble" {
				value = protoreflect.ValueOfBytes(rapid.SliceOf(rapid.Byte()).Draw(t, label))
				break
			}
			id := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label)
			if bytes.Equal(id, make([]byte, 16)) {
				continue
			}
			value = protoreflect.ValueOfBytes(id)
		default:
			t.Fatalf("%s is a %v", label, fd.Kind())
		}
		if m.Set(fd, value); value.Equal(fd.Default()) {
			m.Clear(fd)
		}
	}
	return m
}

// randomElement draws one element of a repeated field.
func randomElement(t *rapid.T, fd protoreflect.FieldDescriptor, label string) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.MessageKind:
		return protoreflect.ValueOfMessage(random(t, fd.Message(), label))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(rapid.String().Draw(t, label))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(rapid.Uint64().Draw(t, label))
	}
	t.Fatalf("%s is a repeated %v", label, fd.Kind())
	return protoreflect.Value{}
}

// TestAgainstProtobuf: what protobuf writes we read, with the same values in
// the fields of the same names, and write again to the byte.
func TestAgainstProtobuf(t *testing.T) {
	t.Parallel()
	messages := compile(t).Messages()
	for i := range messages.Len() {
		md := messages.Get(i)
		t.Run(string(md.Name()), func(t *testing.T) {
			t.Parallel()
			d := decoderOf(t, string(md.Name()))
			rapid.Check(t, func(t *rapid.T) {
				want := random(t, md, string(md.Name()))
				payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
				if err != nil {
					t.Fatal(err)
				}
				got, err := d.parse(payload)
				if err != nil {
					t.Fatalf("% x: %v", payload, err)
				}
				if err := same(reflect.ValueOf(got), want); err != nil {
					t.Fatalf("% x: %v", payload, err)
				}
				again := got.Append(nil)
				if !bytes.Equal(again, payload) {
					t.Fatalf("appended\n% x, want\n% x", again, payload)
				}
				theirs := dynamicpb.NewMessage(md)
				if err := proto.Unmarshal(again, theirs); err != nil || !proto.Equal(theirs, want) {
					t.Fatalf("protobuf reads %v, %v, want %v", theirs, err, want)
				}
			})
		})
	}
}

// FuzzMessages feeds every decoder. What it takes, protobuf takes with the same
// values; and encoded and decoded again it is the same.
func FuzzMessages(f *testing.F) {
	messages := compile(f).Messages()
	all := decoders()
	for i, d := range all {
		f.Add(uint8(i), []byte("\x08\x01\x10\x02\x0a\x01a\xf8\x07\x01"))
		for _, s := range samples {
			if reflect.TypeOf(s.message).Name() == d.name {
				f.Add(uint8(i), []byte(s.bytes))
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, payload []byte) {
		d := all[int(which)%len(all)]
		got, err := d.parse(payload)
		if err != nil {
			return
		}
		theirs := dynamicpb.NewMessage(messages.ByName(protoreflect.Name(d.name)))
		if err := proto.Unmarshal(payload, theirs); err != nil {
			t.Fatalf("%s: we read %+v, protobuf %v", d.name, got, err)
		}
		if err := same(reflect.ValueOf(got), theirs); err != nil {
			t.Fatalf("%s: %v", d.name, err)
		}
		encoded := got.Append(nil)
		if len(encoded) > len(payload) {
			t.Fatalf("%s: %d bytes became %d", d.name, len(payload), len(encoded))
		}
		again, err := d.parse(encoded)
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("%s: %+v became %+v, %v", d.name, got, again, err)
		}
	})
}

// FuzzViewLookUp: the hot path and ParseLookUp are of one mind.
func FuzzViewLookUp(f *testing.F) {
	f.Add([]byte("\x0a\x0ecom.example.up" + "\x10\x01" + "\x1a\x04^1.2" + "\x22\x02/s"))
	f.Add([]byte("\x0a\x01\xff"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		want, wantErr := session.ParseLookUp(payload)
		v, err := session.ViewLookUp(payload)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%v, but ParseLookUp %v", err, wantErr)
		}
		if got := (session.LookUp{Name: string(v.Name), Kind: v.Kind, Version: string(v.Version), Scope: string(v.Scope)}); got != want {
			t.Fatalf("%+v, but ParseLookUp %+v", got, want)
		}
	})
}
