// SPDX-License-Identifier: Apache-2.0

package definition_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/internal/definition"
)

const minimal = "name = 'a'\nexec = ['/bin/a']\n"

// private makes a folder that only its owner may write.
func private(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

func symlink(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	folder, other := private(t), private(t)
	write(t, filepath.Join(folder, "a.toml"), minimal, 0o644)
	symlink(t, filepath.Join(folder, "a.toml"), filepath.Join(other, "middle"))
	symlink(t, "middle", filepath.Join(other, "a.toml"))
	symlink(t, folder, filepath.Join(other, "folder"))
	for _, path := range []string{filepath.Join(folder, "a.toml"), filepath.Join(other, "a.toml"), filepath.Join(other, "folder", "a.toml")} {
		d, err := definition.Load(path, os.Getuid())
		if err != nil || d.Name != "a" || d.File != path {
			t.Errorf("Load(%q) = %+v, %v", path, d, err)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		title   string
		prepare func(t *testing.T, path string) // in a folder of its own
		want    string                          // without the file
	}{
		{"missing", func(*testing.T, string) {}, "/a.toml: cannot look at it: no such file or directory"},
		{"broken", func(t *testing.T, path string) { write(t, path, minimal+"x = 1", 0o600) }, `:3: unknown key "x": `},
		{"another name", func(t *testing.T, path string) { write(t, path, strings.Replace(minimal, "'a'", "'b'", 1), 0o600) }, `:1: name "b" is not that of the file`},
		{"writable by the group", func(t *testing.T, path string) { write(t, path, minimal, 0o664) },
			": it may be written by others than its owner (mode 0664): chmod go-w it"},
		{"writable by all", func(t *testing.T, path string) { write(t, path, minimal, 0o602) },
			": it may be written by others than its owner (mode 0602): chmod go-w it"},
		{"folder writable by the group", func(t *testing.T, path string) {
			write(t, path, minimal, 0o600)
			chmod(t, filepath.Dir(path), 0o770)
		}, " may be written by others than its owner (mode 0770): chmod go-w /"},
		{"folder writable by all, sticky", func(t *testing.T, path string) {
			write(t, path, minimal, 0o600)
			chmod(t, filepath.Dir(path), 0o777|fs.ModeSticky)
		}, " may be written by others than its owner (mode 0777): chmod go-w /"},
		{"link to a file writable by all", func(t *testing.T, path string) {
			target := filepath.Join(private(t), "x")
			write(t, target, minimal, 0o666)
			symlink(t, target, path)
		}, ": it may be written by others"},
		{"link into a folder writable by all", func(t *testing.T, path string) {
			target := filepath.Join(private(t), "x")
			write(t, target, minimal, 0o600)
			chmod(t, filepath.Dir(target), 0o777)
			symlink(t, target, path)
		}, ": its folder, /"},
		{"link by way of a folder writable by all", func(t *testing.T, path string) {
			target, middle := filepath.Join(private(t), "x"), filepath.Join(private(t), "y")
			write(t, target, minimal, 0o600)
			symlink(t, target, middle)
			chmod(t, filepath.Dir(middle), 0o777)
			symlink(t, middle, path)
		}, ": its folder, /"},
		{"link to nothing", func(t *testing.T, path string) { symlink(t, "nothing", path) }, `/nothing", where nothing is: change or remove it`},
		{"link to itself", func(t *testing.T, path string) { symlink(t, filepath.Base(path), path) }, "it is a link to a link"},
		{"folder", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, ": it is not a regular file"},
		{"pipe", func(t *testing.T, path string) {
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
		}, ": it is not a regular file"},
		{"link to a device", func(t *testing.T, path string) { symlink(t, "/dev/zero", path) }, ""},
		{"too large", func(t *testing.T, path string) {
			write(t, path, minimal+strings.Repeat("#", definition.MaxSize), 0o600)
		}, ": it is larger than 65536 bytes"},
	}
	for _, test := range tests {
		path := filepath.Join(private(t), "a.toml")
		test.prepare(t, path)
		_, err := definition.Load(path, os.Getuid())
		var e *definition.Error
		if !errors.As(err, &e) || e.File != path || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want …%s…", test.title, err, test.want)
		}
		if got := errors.Is(err, fs.ErrNotExist); got != (test.title == "missing") {
			t.Errorf("%s: errors.Is(%v, fs.ErrNotExist) = %v", test.title, err, got)
		}
	}
}

// Whoever owns a definition says what runs as the broker's user.
func TestLoadRefusesOwners(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can give a file to another user")
	}
	const user, stranger = 1001, 1002
	give := func(path string, uid int) {
		if err := os.Chown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		folder, file, broker int
		want                 string
	}{
		{0, 0, 0, ""},
		{0, 0, user, ""},
		{user, user, user, ""},
		{0, user, user, ""},
		{user, 0, user, ""},
		{0, user, 0, "it belongs to user 1001, and must belong to root, who may say what runs here: chown it"},
		{0, stranger, user, "it belongs to user 1002, and must belong to root or user 1001, who may say what runs here: chown it"},
		{user, 0, 0, ", belongs to user 1001, and must belong to root, who may say what runs here: chown /"},
		{stranger, user, user, ", belongs to user 1002, and must belong to root or user 1001"},
	}
	for _, test := range tests {
		folder := private(t)
		path := filepath.Join(folder, "a.toml")
		write(t, path, minimal, 0o600)
		give(path, test.file)
		give(folder, test.folder)
		_, err := definition.Load(path, test.broker)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("folder of %d, file of %d, broker of %d: %v, want …%s…", test.folder, test.file, test.broker, err, test.want)
		}
	}
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestFolders(t *testing.T) {
	t.Parallel()
	tests := []struct {
		extra []string
		env   map[string]string
		want  []string
	}{
		{nil, map[string]string{"HOME": "/home/ann"}, []string{"/home/ann/.config/switchboard/services", "/etc/switchboard/services"}},
		{[]string{"/opt/b/", "/opt/a"}, map[string]string{"HOME": "/home/ann", "XDG_CONFIG_HOME": "/cfg"},
			[]string{"/opt/b", "/opt/a", "/cfg/switchboard/services", "/etc/switchboard/services"}},
		{nil, map[string]string{"HOME": "/h", "XDG_CONFIG_HOME": "relative"}, []string{"/h/.config/switchboard/services", "/etc/switchboard/services"}},
		{nil, nil, []string{"/etc/switchboard/services"}},
	}
	for _, test := range tests {
		got := definition.Folders(test.extra, func(key string) string { return test.env[key] })
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("Folders(%q) with %v (-want +got):\n%s", test.extra, test.env, diff)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	first, second := private(t), private(t)
	for _, base := range []string{"b.toml", "a@1.0.0.toml", "not a name.toml", ".hidden.toml", ".toml", "README", "c.toml~"} {
		write(t, filepath.Join(first, base), "", 0o600)
	}
	for _, base := range []string{"b.toml", "a@2.0.0.toml", "a.toml"} {
		write(t, filepath.Join(second, base), "", 0o600)
	}
	got, err := definition.List([]string{filepath.Join(first, "missing"), first, second, first})
	if err != nil {
		t.Fatal(err)
	}
	want := []definition.File{
		{Path: filepath.Join(first, "a@1.0.0.toml"), Name: "a", Version: "1.0.0"},
		{Path: filepath.Join(first, "b.toml"), Name: "b"},
		{Path: filepath.Join(first, "not a name.toml"), Name: "not a name"},
		{Path: filepath.Join(second, "a.toml"), Name: "a"},
		{Path: filepath.Join(second, "a@2.0.0.toml"), Name: "a", Version: "2.0.0"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	file := filepath.Join(first, "README")
	got, err = definition.List([]string{file, second})
	var e *definition.Error
	if len(got) != 3 || !errors.As(err, &e) || err.Error() != file+": cannot read the folder: not a directory" {
		t.Errorf("with a file for a folder: %v, %v", got, err)
	}
}
