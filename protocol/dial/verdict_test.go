// SPDX-License-Identifier: Apache-2.0

package dial_test

import (
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/dial"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	longPath := "/" + strings.Repeat("x", dial.MaxVerdict-len("AT /\n"))
	tests := []struct {
		line string
		want dial.Verdict
	}{
		{"OK\n", dial.Verdict{}},
		{"AT /run/x/s/a b\n", dial.Verdict{Path: "/run/x/s/a b"}},
		{"AT /\xff\n", dial.Verdict{Path: "/\xff"}},
		{"AT " + longPath + "\n", dial.Verdict{Path: longPath}},
		{"ERR 69 nobody has \"a\"\n", dial.Verdict{Code: session.Unavailable, Text: `nobody has "a"`}},
		{"ERR 255 é\n", dial.Verdict{Code: 255, Text: "é"}},
	}
	for _, test := range tests {
		for _, behind := range []string{"", "early", "OK\n"} {
			got, n, err := dial.ParseVerdict([]byte(test.line + behind))
			if err != nil || got != test.want || n != len(test.line) {
				t.Errorf("%q: got %+v, %d, %v, want %+v", test.line, got, n, err, test.want)
			}
		}
		if line := test.want.Append([]byte("x")); string(line) != "x"+test.line {
			t.Errorf("%+v becomes %q, want %q", test.want, line[1:], test.line)
		}
		for size := range test.line {
			if _, n, err := dial.ParseVerdict([]byte(test.line[:size])); n != 0 || err != nil {
				t.Errorf("%q: got %d, %v, want more to come", test.line[:size], n, err)
			}
		}
	}
}

func TestVerdictAppend(t *testing.T) {
	t.Parallel()
	tests := []struct {
		verdict dial.Verdict
		want    string
	}{
		{dial.Verdict{Code: session.TryAgain}, "ERR 75 try again\n"},
		{dial.Verdict{Code: session.TryAgain, Text: "\r\n"}, "ERR 75 try again\n"},
		{dial.Verdict{Code: session.TryAgain, Text: "a\nb\r\nc\rd\n\n"}, "ERR 75 a | b | c | d\n"},
		{dial.Verdict{Code: session.TryAgain, Text: "a\n\nb"}, "ERR 75 a |  | b\n"},
		{dial.Verdict{Code: session.TryAgain, Text: "a\xff\xfeb"}, "ERR 75 a\ufffdb\n"},
		{dial.Verdict{Code: session.TryAgain, Text: "a", Path: "/p"}, "ERR 75 a\n"},
		{dial.Verdict{Path: "p"}, "ERR 69 the path of the service, \"p\", is not absolute\n"},
		{dial.Verdict{Path: "/a\nb"}, "ERR 69 the path of the service, \"/a\\nb\", has a line break\n"},
		{dial.Verdict{Path: "/" + strings.Repeat("x", 4092)}, "ERR 69 the path of the service has 4093 bytes, too many for a verdict\n"},
	}
	for _, test := range tests {
		if got := string(test.verdict.Append(nil)); got != test.want {
			t.Errorf("%+v:\n got %q\nwant %q", test.verdict, got, test.want)
		}
	}
}

// TestVerdictCut: a text is cut to the limit, between characters, wherever b began.
func TestVerdictCut(t *testing.T) {
	t.Parallel()
	for shift := range 6 {
		v := dial.Verdict{Code: session.Usage, Text: strings.Repeat("x", shift) + strings.Repeat("€", 2000)}
		b := v.Append([]byte("before"))[len("before"):]
		if len(b) > dial.MaxVerdict || len(b) < dial.MaxVerdict-2 || b[len(b)-1] != '\n' {
			t.Errorf("shift %d: %d bytes, ending in %q", shift, len(b), b[len(b)-4:])
		}
		got, n, err := dial.ParseVerdict(b)
		if err != nil || n != len(b) || !strings.HasPrefix(v.Text, got.Text) {
			t.Errorf("shift %d: got %d bytes, %v, ending in %q", shift, n, err, got.Text[len(got.Text)-4:])
		}
	}
}

func TestVerdictErrors(t *testing.T) {
	t.Parallel()
	const begins = "the answer is not a verdict: it begins with "
	tests := []struct{ answer, want string }{
		{"\n", "the answer is not a verdict: it is an empty line"},
		{"HTTP/1.1 400", begins + `"HTTP/1.1 400"`},
		{"O!", begins + `"O!"`},
		{"OK ", begins + `"OK "`},
		{"OK\r\n", begins + `"OK\r"`},
		{"AT\n", begins + `"AT"`},
		{"AT \n", begins + `"AT "`},
		{"AT p\n", `the path of the service, "p", is not absolute`},
		{"ERR\n", begins + `"ERR"`},
		{"ERR \n", begins + `"ERR "`},
		{"ERR 0 fine\n", begins + `"ERR 0 fine"`},
		{"ERR 069 x\n", begins + `"ERR 069 x"`},
		{"ERR +69 x\n", begins + `"ERR +69 x"`},
		{"ERR 256 x\n", begins + `"ERR 256 x"`},
		{"ERR x\n", begins + `"ERR x"`},
		{"\x00" + strings.Repeat("x", 100) + "\n", begins + `"\x00` + strings.Repeat("x", 63) + `"`},
		{"ERR 69 " + strings.Repeat("x", 4089) + "\n", "the answer is not a verdict: no end of line in 4096 bytes"},
	}
	for _, test := range tests {
		_, n, err := dial.ParseVerdict([]byte(test.answer))
		if n != 0 || err == nil || err.Error() != test.want {
			t.Errorf("%q:\n got %d, %v\nwant %s", test.answer, n, err, test.want)
		}
	}
	for _, line := range []string{"ERR 75\n", "ERR 75 \n"} {
		got, n, err := dial.ParseVerdict([]byte(line))
		if want := (dial.Verdict{Code: session.TryAgain, Text: "try again"}); err != nil || n != len(line) || got != want {
			t.Errorf("%q: got %+v, %d, %v, want %+v", line, got, n, err, want)
		}
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 512)
	request := dial.Request{Name: "com.example.up", Version: "^1.2", Scope: "/home/me"}
	verdict := []byte("OK\nearly")
	n := testing.AllocsPerRun(100, func() {
		request.Append(buf)
		dial.Verdict{}.Append(buf)
		if _, _, err := dial.ParseVerdict(verdict); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzVerdict(f *testing.F) {
	for _, s := range []string{"OK\nearly", "AT /run/x\n", "ERR 75 a | b\n", "ERR 69\n", "E", "HTTP", "ERR 77 \xff\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		v, n, err := dial.ParseVerdict(answer)
		if err != nil || n == 0 {
			if n != 0 || v != (dial.Verdict{}) || err == nil && len(answer) >= dial.MaxVerdict {
				t.Fatalf("%q: %+v, %d, %v", answer, v, n, err)
			}
			return
		}
		if n > dial.MaxVerdict || answer[n-1] != '\n' {
			t.Fatalf("%q: length %d", answer, n)
		}
		encoded := v.Append(nil)
		again, n, err := dial.ParseVerdict(append(encoded, answer...))
		if err != nil || n != len(encoded) || n > dial.MaxVerdict {
			t.Fatalf("%q became %q, %d, %v", answer, encoded, n, err)
		}
		// characters that replaced bytes may be longer and so have been cut
		if again.Code != v.Code || again.Path != v.Path || !strings.HasPrefix(v.Text, again.Text) {
			t.Fatalf("%+v became %+v", v, again)
		}
	})
}

// FuzzVerdictText: any text and any path give one line that is a verdict.
func FuzzVerdictText(f *testing.F) {
	f.Add(uint8(75), "", "a\nb\xff")
	f.Add(uint8(0), "/run/x\n", "")
	f.Fuzz(func(t *testing.T, code uint8, path, text string) {
		encoded := dial.Verdict{Code: session.Code(code), Path: path, Text: text}.Append(nil)
		v, n, err := dial.ParseVerdict(encoded)
		if err != nil || n != len(encoded) || strings.Count(string(encoded), "\n") != 1 {
			t.Fatalf("%q: %+v, %d, %v", encoded, v, n, err)
		}
		if again := v.Append(nil); string(again) != string(encoded) {
			t.Fatalf("%q became %q", encoded, again)
		}
	})
}
