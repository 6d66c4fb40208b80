// SPDX-License-Identifier: Apache-2.0

package servedef_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/internal/servedef"
)

func TestFolder(t *testing.T) {
	t.Parallel()
	tests := []struct {
		goos, home string
		env        map[string]string
		want       string
	}{
		{"linux", "/home/a", nil, "/home/a/.config/running-process/services"},
		{"linux", "/home/a", map[string]string{"XDG_CONFIG_HOME": "/c"}, "/c/running-process/services"},
		{"linux", "/home/a", map[string]string{"XDG_CONFIG_HOME": "c"}, "/home/a/.config/running-process/services"},
		{"linux", "", map[string]string{"XDG_CONFIG_HOME": "/c"}, "/c/running-process/services"},
		{"linux", "", nil, ""},
		{"linux", "/home/a", map[string]string{servedef.EnvFolder: "/d", "XDG_CONFIG_HOME": "/c"}, "/d"},
		{"linux", "/home/a", map[string]string{servedef.EnvFolder: ""}, "/home/a/.config/running-process/services"},
		{"darwin", "/Users/a", map[string]string{"XDG_CONFIG_HOME": "/c"}, "/Users/a/Library/Application Support/running-process/services"},
		{"darwin", "", nil, ""},
		{"darwin", "", map[string]string{servedef.EnvFolder: "/d"}, "/d"},
		{"windows", `C:\Users\a`, map[string]string{"APPDATA": `D:\Roaming\`}, `D:\Roaming\running-process\services`},
		{"windows", `C:\Users\a`, nil, `C:\Users\a\AppData\Roaming\running-process\services`},
		{"windows", "", nil, ""},
		{"windows", "", map[string]string{servedef.EnvFolder: `E:\d`}, `E:\d`},
	}
	for _, test := range tests {
		got := servedef.Folder(func(key string) string { return test.env[key] }, test.home, test.goos)
		if got != test.want {
			t.Errorf("%s, home %q, %v: %q, want %q", test.goos, test.home, test.env, got, test.want)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	folder := private(t)
	for _, base := range []string{"b.servicedef", "b.servicedef.v2", "a.servicedef", "c-1.servicedef.v2", "Bad.servicedef", ".d.servicedef", ".servicedef",
		".servicedef.v2", "e.toml", "f.servicedef.bak", "b-1.servicedef"} {
		write(t, filepath.Join(folder, base), nil, 0o600)
	}
	got, err := servedef.List(folder)
	want := []servedef.File{
		{Service: "Bad", Path: filepath.Join(folder, "Bad.servicedef")},
		{Service: "a", Path: filepath.Join(folder, "a.servicedef")},
		{Service: "b", Path: filepath.Join(folder, "b.servicedef.v2"), V2: true},
		{Service: "b-1", Path: filepath.Join(folder, "b-1.servicedef")},
		{Service: "c-1", Path: filepath.Join(folder, "c-1.servicedef.v2"), V2: true},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, folder := range []string{"", filepath.Join(folder, "none")} {
		if got, err := servedef.List(folder); err != nil || len(got) != 0 {
			t.Errorf("List(%q) = %v, %v", folder, got, err)
		}
	}
	if _, err := servedef.List(filepath.Join(folder, "e.toml")); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file is a folder: %v", err)
	}
}

// private makes a folder that definitions may be in.
func private(t testing.TB) string {
	t.Helper()
	folder := t.TempDir()
	chmod(t, folder, 0o700)
	return folder
}

func write(t testing.TB, path string, data []byte, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	chmod(t, path, mode)
}

func chmod(t testing.TB, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
