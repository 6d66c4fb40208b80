// SPDX-License-Identifier: Apache-2.0

package servedef_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/internal/servedef"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// other is a user that no test runs as.
const other = 54321

// sample is a valid definition of a service.
func sample(service string) envelope.ServiceDefinition {
	return envelope.ServiceDefinition{ServiceName: service, BinaryPath: "/opt/" + service, Isolation: envelope.SharedBroker}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	folder := private(t)
	one, two := sample("tool"), sample("tool")
	two.BinaryPath = "/opt/two"
	two.HTTPServer = &envelope.HTTPServer{HealthPath: "/health"}
	at := filepath.Join(folder, "tool.servicedef")

	write(t, at, one.Append(nil), 0o644)
	got, err := servedef.Load(folder, "tool", os.Geteuid())
	if diff := cmp.Diff(servedef.Loaded{Definition: one, Path: at}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}

	// What changed counts at once, however little its times did; field 10 is unknown in the first version.
	write(t, at, two.Append(nil), 0o600)
	got, err = servedef.Load(folder, "tool", os.Geteuid())
	if err != nil || got.Definition.BinaryPath != "/opt/two" || got.Definition.HTTPServer != nil {
		t.Errorf("changed: %+v, %v", got, err)
	}

	// The second version goes first, and if it is broken nothing comes after it.
	write(t, at, one.Append(nil), 0o600)
	write(t, at+".v2", two.Append(nil), 0o600)
	got, err = servedef.Load(folder, "tool", os.Geteuid())
	if diff := cmp.Diff(servedef.Loaded{Definition: two, Path: at + ".v2", V2: true}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	write(t, at+".v2", []byte{0xff}, 0o600)
	if _, err = servedef.Load(folder, "tool", os.Geteuid()); err == nil {
		t.Error("a broken .servicedef.v2 is passed over")
	}
	if err := os.Remove(at + ".v2"); err != nil {
		t.Fatal(err)
	}
	if got, err = servedef.Load(folder, "tool", os.Geteuid()); err != nil || got.V2 {
		t.Errorf("%+v, %v", got, err)
	}

	// A link is followed.
	if err := os.Rename(at, filepath.Join(folder, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("elsewhere", at); err != nil {
		t.Fatal(err)
	}
	if _, err = servedef.Load(folder, "tool", os.Geteuid()); err != nil {
		t.Error(err)
	}
}

func TestNotThere(t *testing.T) {
	t.Parallel()
	folder := private(t)
	for _, folder := range []string{folder, filepath.Join(folder, "none"), ""} {
		if _, err := servedef.Load(folder, "tool", os.Geteuid()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Load(%q) = %v", folder, err)
		}
	}
}

// TestLoadRefuses has for each kind of file what is refused, and the text; nothing of it looks like a missing file.
func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	good := sample("tool").Append(nil)
	tests := []struct {
		title   string
		prepare func(t *testing.T, path string) // in a folder of its own
		want    string                          // FOLDER and FILE stand for the paths
		reason  string                          // what people are told beside
	}{
		{"folder for the group", func(t *testing.T, path string) {
			write(t, path, good, 0o600)
			chmod(t, filepath.Dir(path), 0o710)
		}, "service-definition directory has insecure permissions: FOLDER", "its mode is 0710: chmod 700 "},
		{"folder that others may read", func(t *testing.T, path string) {
			write(t, path, good, 0o600)
			chmod(t, filepath.Dir(path), 0o704)
		}, "service-definition directory has insecure permissions: FOLDER", "its mode is 0704: chmod 700 "},
		{"folder goes before the rest", func(t *testing.T, path string) {
			write(t, path, []byte{0xff}, 0o666)
			chmod(t, filepath.Dir(path), 0o777)
		}, "service-definition directory has insecure permissions: FOLDER", "its mode is 0777"},
		{"link to a folder", func(t *testing.T, path string) {
			folder, elsewhere := filepath.Dir(path), private(t)
			write(t, filepath.Join(elsewhere, filepath.Base(path)), good, 0o600)
			if err := errors.Join(os.Remove(folder), os.Symlink(elsewhere, folder)); err != nil {
				t.Fatal(err)
			}
		}, "service-definition directory has insecure permissions: FOLDER", "it is not a folder itself"},
		{"file for the group", func(t *testing.T, path string) { write(t, path, good, 0o660) },
			"service-definition file FILE is refused: it may be written by others than its owner (mode 0660): chmod go-w it", ""},
		{"file for all", func(t *testing.T, path string) { write(t, path, good, 0o602) },
			"service-definition file FILE is refused: it may be written by others than its owner (mode 0602): chmod go-w it", ""},
		{"too large", func(t *testing.T, path string) { write(t, path, make([]byte, servedef.MaxSize+1), 0o600) },
			"service-definition file FILE is refused: it is larger than 1048576 bytes, which no definition is", ""},
		{"a folder", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "service-definition file FILE is refused: it is not a regular file", ""},
		{"a pipe", func(t *testing.T, path string) {
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "service-definition file FILE is refused: it is not a regular file", ""},
		{"garbage", func(t *testing.T, path string) { write(t, path, []byte{0xff, 0xff, 0xff, 0xff}, 0o600) },
			"service-definition protobuf decode failed: …", ""},
		{"another name", func(t *testing.T, path string) { write(t, path, sample("other").Append(nil), 0o600) },
			`service-definition requested "tool" but file declares "other"`, ""},
		{"relative program", func(t *testing.T, path string) {
			d := sample("tool")
			d.BinaryPath = "opt/tool"
			write(t, path, d.Append(nil), 0o600)
		}, `service-definition binary_path is invalid: "opt/tool" (must be absolute)`, ""},
		{"unknown isolation", func(t *testing.T, path string) {
			d := sample("tool")
			d.Isolation = 7
			write(t, path, d.Append(nil), 0o600)
		}, "service-definition isolation is invalid: unknown BrokerIsolation value", ""},
	}
	for _, test := range tests {
		for _, suffix := range []string{servedef.SuffixV2, servedef.Suffix} {
			folder := filepath.Join(private(t), "services")
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(folder, "tool"+suffix)
			test.prepare(t, path)
			_, err := servedef.Load(folder, "tool", os.Geteuid())
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s%s: %v", test.title, suffix, err)
				continue
			}
			want := strings.NewReplacer("FOLDER", folder, "FILE", path).Replace(test.want)
			begin, _, more := strings.Cut(want, "…")
			if !strings.HasPrefix(err.Error(), begin) || !more && err.Error() != want {
				t.Errorf("%s%s:\n%v, want\n%s", test.title, suffix, err, want)
			}
			var insecure *servedef.InsecureError
			if errors.As(err, &insecure) != (test.reason != "") || insecure != nil && !strings.Contains(insecure.Reason, test.reason) {
				t.Errorf("%s%s: %#v", test.title, suffix, insecure)
			}
		}
	}
}

// TestBadName sees that a name is judged before a file is looked for: none leads out of the folder.
func TestBadName(t *testing.T) {
	t.Parallel()
	outer := private(t)
	folder := filepath.Join(outer, "services")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(outer, "tool.servicedef"), sample("tool").Append(nil), 0o600)
	for _, name := range []string{"", "../tool", "Tool", "a/b", "a\x00", strings.Repeat("a", 65)} {
		_, err := servedef.Load(folder, name, os.Geteuid())
		var bad *envelope.NameError
		if !errors.As(err, &bad) || bad.Value != name {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can give files to another user")
	}
	set := func(path string, uid int) {
		t.Helper()
		if err := os.Lchown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		folder, file, broker int
		want                 string
	}{
		{0, 0, 0, ""}, {other, other, other, ""}, {other, 0, other, ""}, {0, other, other, ""},
		{other, 0, 0, "service-definition directory has insecure permissions: "},
		{other + 1, other, other, "service-definition directory has insecure permissions: "},
		{0, other, 0, ", and must belong to root"},
		{other, other + 1, other, "is refused: it belongs to user 54322, and must belong to root or user 54321"},
	} {
		for _, suffix := range []string{servedef.SuffixV2, servedef.Suffix} {
			folder := private(t)
			path := filepath.Join(folder, "tool"+suffix)
			write(t, path, sample("tool").Append(nil), 0o600)
			set(path, test.file)
			set(folder, test.folder)
			_, err := servedef.Load(folder, "tool", test.broker)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%+v %s: %v", test, suffix, err)
			}
		}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	folder := private(t)
	chmod(t, folder, 0o755)
	path := filepath.Join(folder, "tool.servicedef")
	write(t, path, sample("tool").Append(nil), 0o666)
	if got, err := servedef.Read(path); err != nil || got.Definition.ServiceName != "tool" || got.V2 {
		t.Errorf("%+v, %v", got, err)
	}
	write(t, path+".v2", sample("another").Append(nil), 0o600)
	if _, err := servedef.Read(path + ".v2"); err == nil {
		t.Error("a file's name is not compared")
	}
	write(t, filepath.Join(folder, "any"), sample("tool").Append(nil), 0o600)
	if got, err := servedef.Read(filepath.Join(folder, "any")); err != nil || got.Definition.ServiceName != "tool" {
		t.Errorf("%+v, %v", got, err)
	}
	write(t, filepath.Join(folder, "large"), make([]byte, servedef.MaxSize+1), 0o600)
	for _, base := range []string{"large", "none", "."} {
		if _, err := servedef.Read(filepath.Join(folder, base)); err == nil {
			t.Errorf("%s is read", base)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	folder := private(b)
	write(b, filepath.Join(folder, "tool.servicedef"), sample("tool").Append(nil), 0o600)
	for b.Loop() {
		if _, err := servedef.Load(folder, "tool", os.Geteuid()); err != nil {
			b.Fatal(err)
		}
	}
}
