// SPDX-License-Identifier: Apache-2.0

package name_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/name"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	const rule = `: a name is 1 to 127 printable ASCII characters without space, "/", "*" and "@", and not "." or ".."`
	tests := []struct {
		name string
		want string // of the error, without the rule; empty: none
		at   int
	}{
		{name: "a"},
		{name: "com.example.up"},
		{name: "..."},
		{name: ".hidden"},
		{name: "a..b"},
		{name: "!~\"#$%&'()+,-:;<=>?[\\]^_`{|}"},
		{name: strings.Repeat("x", name.Max)},
		{name: "", want: `name "" is empty`},
		{name: ".", want: `name "." is reserved`},
		{name: "..", want: `name ".." is reserved`},
		{name: strings.Repeat("x", name.Max+1), want: `name "` + strings.Repeat("x", 64) + `…" has 128 bytes`},
		{name: "com/x", want: `name "com/x" has '/' at byte 4`, at: 4},
		{name: "*", want: `name "*" has '*' at byte 1`, at: 1},
		{name: "a@1", want: `name "a@1" has '@' at byte 2`, at: 2},
		{name: "a b", want: `name "a b" has a space at byte 2`, at: 2},
		{name: "café", want: `name "café" has 'é' at byte 4`, at: 4},
		{name: "a\n", want: `name "a\n" has '\n' (U+000A) at byte 2`, at: 2},
		{name: "a\x00b", want: `name "a\x00b" has '\x00' (U+0000) at byte 2`, at: 2},
		{name: "a\x7f", want: `name "a\x7f" has '\x7f' (U+007F) at byte 2`, at: 2},
		{name: "a\xffb", want: `name "a\xffb" has 0xff at byte 2`, at: 2},
		{name: "a\u00a0", want: `name "a\u00a0" has '\u00a0' (U+00A0) at byte 2`, at: 2},
		{name: "a\ufffd", want: `name "a` + "\ufffd" + `" has '` + "\ufffd" + `' at byte 2`, at: 2},
	}
	for _, test := range tests {
		err := name.Check(test.name)
		if test.want == "" {
			if err != nil {
				t.Errorf("Check(%q) = %v, want none", test.name, err)
			}
			continue
		}
		if err == nil || err.Error() != test.want+rule {
			t.Errorf("Check(%q):\n got %v\nwant %s", test.name, err, test.want+rule)
			continue
		}
		var e *name.Error
		if !errors.As(err, &e) || e.Text != test.name || e.Byte != test.at {
			t.Errorf("Check(%q) = %#v, want byte %d", test.name, err, test.at)
		}
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { _ = name.Check("com.example.up") }); n != 0 {
		t.Errorf("Check allocates %v times", n)
	}
}

func TestPattern(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pattern string
		yes, no []string
	}{
		{"*", []string{"a", "com.example", "..."}, nil},
		{"com.example", []string{"com.example"}, []string{"com", "com.example.a", "com.examples"}},
		{"com.example.*", []string{"com.example.a", "com.example.a.b"}, []string{"com.example", "com.example.", "com.examples.a", "com", "org.com.example.a"}},
		{"a.*", []string{"a.b"}, []string{"a", "b", "ab.c"}},
	}
	for _, test := range tests {
		p, err := name.ParsePattern(test.pattern)
		if err != nil {
			t.Errorf("ParsePattern(%q) = %v", test.pattern, err)
			continue
		}
		if p.String() != test.pattern {
			t.Errorf("ParsePattern(%q).String() = %q", test.pattern, p)
		}
		for _, s := range test.yes {
			if !p.Match(s) {
				t.Errorf("%q does not match %q", p, s)
			}
		}
		for _, s := range test.no {
			if p.Match(s) {
				t.Errorf("%q matches %q", p, s)
			}
		}
	}
	if (name.Pattern{}).Match("") || (name.Pattern{}).Match("a") {
		t.Error("the zero pattern matches something")
	}
}

func TestParsePatternErrors(t *testing.T) {
	t.Parallel()
	const rule = `: a pattern is a name, "*" for all names, or a name followed by ".*" for all below it`
	tests := []struct{ pattern, want string }{
		{"", `pattern "" is empty`},
		{".*", `pattern ".*" has nothing before ".*"`},
		{"..*", `pattern "..*" has a reserved name, "."`},
		{"**", `pattern "**" has '*' at byte 1`},
		{"com.*.x", `pattern "com.*.x" has '*' at byte 5`},
		{"com.*.*", `pattern "com.*.*" has '*' at byte 5`},
		{"com*", `pattern "com*" has '*' at byte 4`},
		{"/ci.*", `pattern "/ci.*" has '/' at byte 1`},
	}
	for _, test := range tests {
		_, err := name.ParsePattern(test.pattern)
		if err == nil || err.Error() != test.want+rule {
			t.Errorf("ParsePattern(%q):\n got %v\nwant %s", test.pattern, err, test.want+rule)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{"", "a", "com/x", "..", "é", "\xff", strings.Repeat("x", 128)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// the rule, written another way
		want := len(s) >= 1 && len(s) <= 127 && s != "." && s != ".." &&
			strings.IndexFunc(s, func(r rune) bool { return r < 0x21 || r > 0x7e }) < 0 && !strings.ContainsAny(s, "/*@")
		err := name.Check(s)
		if (err == nil) != want {
			t.Fatalf("Check(%q) = %v, want a name: %v", s, err, want)
		}
		var e *name.Error
		if errors.As(err, &e) && e.Byte > 0 {
			if c := s[e.Byte-1]; c >= 0x21 && c <= 0x7e && !strings.ContainsRune("/*@", rune(c)) {
				t.Fatalf("Check(%q) = %v, but that character is fine", s, err)
			}
		}
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("*", "a")
	f.Add("com.example.*", "com.example.up")
	f.Add("com.example", "com.example")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		p, err := name.ParsePattern(pattern)
		if err != nil || name.Check(s) != nil {
			return
		}
		again, err := name.ParsePattern(p.String())
		if err != nil || again != p {
			t.Fatalf("%q read again is %q, %v", p, again, err)
		}
		prefix, below := strings.CutSuffix(pattern, "*")
		want := s == pattern || below && strings.HasPrefix(s, prefix) && s != prefix
		if p.Match(s) != want {
			t.Fatalf("%q matches %q: %v, want %v", p, s, !want, want)
		}
	})
}
