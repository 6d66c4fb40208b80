// SPDX-License-Identifier: Apache-2.0

package dial_test

import (
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/name"
	"github.com/switchboard-ipc/switchboard/protocol/dial"
)

func TestRequest(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", dial.MaxRequest-len("DIAL a scope=/\n"))
	tests := []struct {
		line string
		want dial.Request
	}{
		{"DIAL a\n", dial.Request{Name: "a"}},
		{"DIAL com.example.up version=^1.2\n", dial.Request{Name: "com.example.up", Version: "^1.2"}},
		{"DIAL com.example.up scope=/home/me\n", dial.Request{Name: "com.example.up", Scope: "/home/me"}},
		{"DIAL a scope=/my%20été%0A%25\n", dial.Request{Name: "a", Scope: "/my été\n%"}},
		{"DIAL a ended=4711\n", dial.Request{Name: "a", Ended: 4711}},
		{"DIAL a version=>=1.2,<2 scope=/é=1\n", dial.Request{Name: "a", Version: ">=1.2,<2", Scope: "/é=1"}},
		{"DIAL version=1 version=1\n", dial.Request{Name: "version=1", Version: "1"}},
		{"DIAL a scope=/" + long + "\n", dial.Request{Name: "a", Scope: "/" + long}},
	}
	for _, test := range tests {
		got, err := dial.ParseRequest([]byte(test.line))
		if err != nil || got != test.want {
			t.Errorf("%q: got %+v, %v, want %+v", test.line, got, err, test.want)
		}
		if line := test.want.Append([]byte("x")); string(line) != "x"+test.line {
			t.Errorf("%+v becomes %q, want %q", test.want, line[1:], test.line)
		}
		if err := test.want.Check(); err != nil {
			t.Errorf("Check(%+v) = %v", test.want, err)
		}
	}
	got, err := dial.ParseRequest([]byte("DIAL a scope=/ version=1\n"))
	if want := (dial.Request{Name: "a", Version: "1", Scope: "/"}); err != nil || got != want {
		t.Errorf("in another order: got %+v, %v, want %+v", got, err, want)
	}
}

func TestRequestErrors(t *testing.T) {
	t.Parallel()
	const rule = `: write "DIAL name[ version=CONSTRAINT][ scope=/PATH]" and a newline`
	const chars = `: spaces and control characters are not allowed`
	tests := []struct{ line, want string }{
		{"", `this is not a request` + rule},
		{"\n", `this is not a request` + rule},
		{"DIAL\n", `this is not a request` + rule},
		{"dial a\n", `this is not a request` + rule},
		{"GET / HTTP/1.1\r\n", `this is not a request` + rule},
		{"DIAL a", `the request is not one line` + rule},
		{"DIAL a\nb\n", `the request is not one line` + rule},
		{"DIAL " + strings.Repeat("x", 508), `the request is longer than 512 bytes`},
		{"DIAL \n", name.Check("").Error()},
		{"DIAL  a\n", name.Check("").Error()},
		{"DIAL com/x\n", name.Check("com/x").Error()},
		{"DIAL a\r\n", name.Check("a\r").Error()},
		{"DIAL a \n", `a field is missing at byte 8: single spaces separate the fields`},
		{"DIAL a  version=1\n", `a field is missing at byte 8: single spaces separate the fields`},
		{"DIAL a version=1 \n", `a field is missing at byte 18: single spaces separate the fields`},
		{"DIAL a colour=red\n", `unknown field "colour" at byte 8` + rule},
		{"DIAL a version=1 b\n", `unknown field "b" at byte 18` + rule},
		{"DIAL a Version=1\n", `unknown field "Version" at byte 8` + rule},
		{"DIAL a version\n", `field "version" at byte 8 has no value: leave it out, or write version=VALUE`},
		{"DIAL a scope=\n", `field "scope" at byte 8 has no value: leave it out, or write scope=VALUE`},
		{"DIAL a version=1 version=1\n", `a second field "version" at byte 18`},
		{"DIAL a scope=/ scope=\n", `a second field "scope" at byte 16`},
		{"DIAL a ended=\n", `field at byte 8: ended "" is not the id of a process`},
		{"DIAL a ended=01\n", `field at byte 8: ended "01" is not the id of a process`},
		{"DIAL a ended=-1\n", `field at byte 8: ended "-1" is not the id of a process`},
		{"DIAL a ended=2147483648\n", `field at byte 8: ended "2147483648" is not the id of a process`},
		{"DIAL a ended=1 ended=2\n", `a second field "ended" at byte 16`},
		{"DIAL a scope=/%\n", `field at byte 8: scope "/%" has a % at byte 2 without two hexadecimal digits: write %25 for a %`},
		{"DIAL a scope=/%2\n", `field at byte 8: scope "/%2" has a % at byte 2 without two hexadecimal digits: write %25 for a %`},
		{"DIAL a scope=/%2x\n", `field at byte 8: scope "/%2x" has a % at byte 2 without two hexadecimal digits: write %25 for a %`},
		{"DIAL a scope=/%00\n", `field at byte 8: scope "/\x00" has a zero byte, which no path has`},
		{"DIAL a scope=/%FF\n", `field at byte 8: scope "/\xff" is not UTF-8`},
		{"DIAL a scope=home\n", `field at byte 8: scope "home" is not an absolute path`},
		{"DIAL a scope=/\xff\n", `field at byte 8: scope "/\xff" is not UTF-8`},
		{"DIAL a version=1\t2\n", `field at byte 8: version "1\t2" has '\t' at byte 2` + chars},
		{"DIAL a scope=/x\r\n", `field at byte 8: scope "/x\r" has '\r' at byte 3` + chars},
	}
	for _, test := range tests {
		_, err := dial.ParseRequest([]byte(test.line))
		if err == nil || err.Error() != test.want {
			t.Errorf("%q:\n got %v\nwant %s", test.line, err, test.want)
		}
	}
}

func TestRequestCheck(t *testing.T) {
	t.Parallel()
	tests := []struct {
		request dial.Request
		want    string
	}{
		{dial.Request{}, name.Check("").Error()},
		{dial.Request{Name: "a b"}, name.Check("a b").Error()},
		{dial.Request{Name: "a", Version: "1 2"}, `version "1 2" has ' ' at byte 2: spaces and control characters are not allowed`},
		{dial.Request{Name: "a", Scope: "x"}, `scope "x" is not an absolute path`},
		{dial.Request{Name: "a", Scope: "/a\x00"}, `scope "/a\x00" has a zero byte, which no path has`},
		{dial.Request{Name: "a", Scope: "/" + strings.Repeat("x", 500)}, `the request has 515 bytes, more than 512`},
	}
	for _, test := range tests {
		if err := test.request.Check(); err == nil || err.Error() != test.want {
			t.Errorf("Check(%+v):\n got %v\nwant %s", test.request, err, test.want)
		}
	}
}

func TestBegins(t *testing.T) {
	t.Parallel()
	for peeked, want := range map[string]bool{
		"": true, "D": true, "DIAL": true, "DIAL ": true, "DIAL a\nrest": true,
		"\x01": false, "d": false, "DI\n": false, "DIALa": false, "GET": false,
	} {
		if got := dial.Begins([]byte(peeked)); got != want {
			t.Errorf("Begins(%q) = %v", peeked, got)
		}
	}
}

func TestComplete(t *testing.T) {
	t.Parallel()
	tests := []struct {
		peeked string
		n      int
		ok     bool
	}{
		{"", 0, false},
		{"DIAL a", 0, false},
		{"DIAL a\n", 7, true},
		{"DIAL a\nearly\nbytes", 7, true},
		{strings.Repeat("x", 511) + "\n", 512, true},
		{strings.Repeat("x", 512) + "\n", 0, false},
	}
	for _, test := range tests {
		if n, ok := dial.Complete([]byte(test.peeked)); n != test.n || ok != test.ok {
			t.Errorf("Complete(%q) = %d, %v, want %d, %v", test.peeked, n, ok, test.n, test.ok)
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, s := range []string{"DIAL a\n", "DIAL a version=^1.2 scope=/home/me\nearly", "DIAL a scope=/ version=1\n", "GET /\n", "DIAL a scope=x\n", "DIAL a scope=/%20%2f\n", "DIAL a ended=1\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, peeked []byte) {
		line := peeked
		if n, ok := dial.Complete(peeked); ok {
			line = peeked[:n]
		}
		r, err := dial.ParseRequest(line)
		if err != nil {
			return
		}
		if !dial.Begins(peeked) || len(line) > dial.MaxRequest || line[len(line)-1] != '\n' {
			t.Fatalf("%q was taken", line)
		}
		if err := r.Check(); err != nil {
			t.Fatalf("%q was taken, but %v", line, err)
		}
		encoded := r.Append(nil)
		again, err := dial.ParseRequest(encoded)
		if err != nil || again != r || len(encoded) > len(line) {
			t.Fatalf("%q became %q, %+v, %v", line, encoded, again, err)
		}
	})
}
