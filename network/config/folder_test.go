// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/network/config"
)

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestFolders(t *testing.T) {
	t.Parallel()
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	for _, test := range []struct {
		given string
		env   map[string]string
		want  []string
	}{
		{"/x/", map[string]string{"HOME": "/h"}, []string{"/x"}},
		{"", map[string]string{"HOME": "/h"}, []string{"/h/.config/switchboard/networks", "/etc/switchboard/networks"}},
		{"", map[string]string{"HOME": "/h", "XDG_CONFIG_HOME": "/c"}, []string{"/c/switchboard/networks", "/etc/switchboard/networks"}},
		{"", nil, []string{"/etc/switchboard/networks"}},
	} {
		if got := config.Folders(test.given, env(test.env)); !slices.Equal(got, test.want) {
			t.Errorf("got %v, want %v", got, test.want)
		}
	}
}

func TestFindAndList(t *testing.T) {
	t.Parallel()
	near, far, uid := t.TempDir(), t.TempDir(), os.Getuid()
	if err := errors.Join(os.Chmod(near, 0o755), os.Chmod(far, 0o755)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(near, "lab.toml"), "mode = 'host'", 0o644)
	write(t, filepath.Join(near, "bad.toml"), "\nmode = 'x'", 0o644)
	write(t, filepath.Join(near, "open.toml"), "mode = 'host'", 0o666)
	write(t, filepath.Join(near, ".hidden.toml"), "mode = 'host'", 0o644)
	write(t, filepath.Join(near, "note.txt"), "", 0o644)
	write(t, filepath.Join(far, "lab.toml"), "mode = 'shared'", 0o644)
	write(t, filepath.Join(far, "shared.toml"), "mode = 'shared'\nmtu = 9000", 0o644)
	write(t, filepath.Join(far, "link.toml"), "mode = 'shared'", 0o644)
	if err := os.Symlink("nowhere", filepath.Join(near, "link.toml")); err != nil {
		t.Fatal(err)
	}
	folders := []string{filepath.Join(near, "none"), near, far}

	for name, want := range map[string]string{
		"lab": "host", "shared": "shared", "host": "host",
		"bad": "bad.toml:2: mode is", "open": "may be written by others", "link": "link.toml: it is a link to a file that does not exist", "none": "no network of this name", "../lab": "no network of this name",
	} {
		n, err := config.Find(folders, uid, name)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = string(n.Mode)
		}
		if !strings.Contains(got, want) || (want == "no network of this name") != errors.Is(err, config.ErrNotFound) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if n, err := config.Find(folders, uid, "shared"); err != nil || n.MTU != 9000 {
		t.Errorf("the file does not replace the built-in network: %+v, %v", n, err)
	}
	var names []string
	for _, e := range config.List(folders, uid) {
		if (e.Network == nil) != (e.Err != nil) {
			t.Errorf("%+v", e)
		}
		names = append(names, e.Name)
	}
	if want := []string{"bad", "host", "lab", "link", "open", "shared"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if err := os.Chmod(near, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(filepath.Join(near, "lab.toml"), uid); err == nil || !strings.Contains(err.Error(), "its folder may be written") {
		t.Error(err)
	}
}
