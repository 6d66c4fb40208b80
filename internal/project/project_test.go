// SPDX-License-Identifier: Apache-2.0

package project_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/project"
)

func TestFolder(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	deep := filepath.Join(top, "a", "b", "c")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(top, "a", "mark"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(top, ".git"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(deep, "link")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		folder  string
		markers []string
		want    string
	}{
		{deep, nil, top},
		{deep, []string{".git"}, top},
		{deep, []string{".git", "mark"}, filepath.Join(top, "a")},
		{deep, []string{"link"}, deep},
		{deep + "/../c/.", []string{"no such marker"}, deep},
		{filepath.Join(top, "a"), []string{"mark"}, filepath.Join(top, "a")},
		{filepath.Join(top, "gone", "too"), []string{".git"}, top},
		{"/", []string{"no such marker"}, "/"},
	}
	for _, test := range tests {
		if got := project.Folder(test.folder, test.markers); got != test.want {
			t.Errorf("Folder(%q, %q) = %q, want %q", test.folder, test.markers, got, test.want)
		}
	}
}
