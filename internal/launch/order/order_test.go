// SPDX-License-Identifier: Apache-2.0

package order

import (
	"bytes"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var orders = []Order{
	{Accept: Native, Argv: []string{"/bin/true"}, Dir: "/", UID: -1, GID: -1},
	{
		Accept: Listener, Name: "com.example.greeter", Argv: []string{"/usr/bin/greeterd", "", "--foreground"}, Env: []string{"A=b", "C="},
		Dir: "/srv", UID: 1001, GID: 0, Groups: []int{0, 27, 1<<32 - 2}, Backlog: 4096,
	},
	{Accept: Connection, Argv: []string{"/bin/cat"}, Dir: "/", UID: 0, GID: -1, Preamble: []byte("OK\n")},
}

func TestOrder(t *testing.T) {
	t.Parallel()
	for _, want := range orders {
		b := want.Append(nil)
		got, err := Parse(b)
		if err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		for n := range b {
			if _, err := Parse(b[:n]); err == nil {
				t.Errorf("%d of %d bytes were accepted", n, len(b))
			}
		}
		if _, err := Parse(append(b, 0)); err == nil {
			t.Error("a trailing byte was accepted")
		}
	}
	for _, b := range []string{"", "\x02n", "\x01x", "\x01n\x00\x00", "\x01n\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7f"} {
		if o, err := Parse([]byte(b)); err == nil {
			t.Errorf("%q was accepted: %+v", b, o)
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Report{
		"listening":                            {Kind: Listening},
		"taken":                                {Kind: Taken},
		"cannot run /bin/x: permission denied": {Kind: Failed, Stage: StageProgram, Errno: syscall.EACCES, What: "/bin/x"},
		"cannot become user 7, group 8: operation not permitted": {Kind: Failed, Stage: StageCredentials, Errno: syscall.EPERM, What: "user 7, group 8"},
		"cannot prepare its socket (listen): invalid argument":   {Kind: Failed, Stage: StageSocket, Errno: syscall.EINVAL, What: "listen"},
		"cannot be launched (order): it ends too early":          {Kind: Failed, Stage: StageOrder, What: "it ends too early"},
	} {
		b := want.Append(nil)
		got, err := ParseReport(b)
		if err != nil || got != want {
			t.Errorf("%+v, not %+v: %v", got, want, err)
		}
		if want.Kind == Failed && got.Error() != text {
			t.Errorf("%q, not %q", got.Error(), text)
		}
		for n := range b {
			if _, err := ParseReport(b[:n]); err == nil {
				t.Errorf("%d of %d bytes were accepted", n, len(b))
			}
		}
		if _, err := ParseReport(append(b, 0)); err == nil {
			t.Error("a trailing byte was accepted")
		}
	}
}

func TestAccept(t *testing.T) {
	t.Parallel()
	for _, a := range []Accept{Listener, Connection, Path, Native} {
		if got, err := ParseAccept(a.String()); got != a || err != nil {
			t.Errorf("%v: %v, %v", a, got, err)
		}
	}
	if got, err := ParseAccept(""); got != Listener || err != nil {
		t.Error(got, err)
	}
	if _, err := ParseAccept("inetd"); err == nil {
		t.Error("inetd was accepted")
	}
}

func FuzzOrder(f *testing.F) {
	for _, o := range orders {
		f.Add(o.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := Parse(b)
		if err != nil {
			return
		}
		again := o.Append(nil)
		p, err := Parse(again)
		if err != nil || !cmp.Equal(o, p) {
			t.Errorf("%q: %+v becomes %+v: %v", b, o, p, err)
		}
	})
}

func FuzzReport(f *testing.F) {
	f.Add(Report{Kind: Failed, Stage: StageExec, Errno: 8, What: "/x"}.Append(nil))
	f.Add(Report{Kind: Taken}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseReport(b)
		if err == nil && !bytes.Equal(r.Append(nil), b) {
			t.Errorf("%q is %+v, which is %q", b, r, r.Append(nil))
		}
	})
}
