// SPDX-License-Identifier: Apache-2.0

package definition_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/internal/definition"
)

// service is the text of a definition.
func service(name, version, program string) string {
	if version != "" {
		version = fmt.Sprintf("version = %q\n", version)
	}
	return fmt.Sprintf("name = %q\n%sexec = [%q]\n", name, version, program)
}

// summary is what a catalogue answered, a line an entry.
func summary(entries []definition.Entry) []string {
	var lines []string
	for _, e := range entries {
		line := filepath.Base(e.Path) + " " + e.Name
		if e.Err != nil {
			line += " refused"
		} else {
			line += fmt.Sprintf(" %s %s", e.Definition.Version, e.Definition.Exec[0])
		}
		lines = append(lines, line)
	}
	return lines
}

func wantEntries(t *testing.T, what string, got []definition.Entry, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, summary(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestCatalogue(t *testing.T) {
	t.Parallel()
	first, second := private(t), filepath.Join(private(t), "later")
	write(t, filepath.Join(first, "a.toml"), service("a", "1.0.0", "/first"), 0o600)
	write(t, filepath.Join(first, "a@2.0.0.toml"), service("a", "", "/first2"), 0o600)
	write(t, filepath.Join(first, "a@3.0.0.toml"), "broken", 0o600)
	write(t, filepath.Join(first, "b.toml"), service("b", "", "/b"), 0o666)
	write(t, filepath.Join(first, "c d.toml"), service("c", "", "/c"), 0o600)
	c := definition.NewCatalogue([]string{first, second}, os.Getuid())

	wantEntries(t, "a", c.Named("a"), "a.toml a 1.0.0 /first", "a@2.0.0.toml a 2.0.0 /first2", "a@3.0.0.toml a refused")
	wantEntries(t, "b", c.Named("b"), "b.toml b refused")
	wantEntries(t, "none", c.Named("c"))
	wantEntries(t, "all", c.All(), "a.toml a 1.0.0 /first", "a@2.0.0.toml a 2.0.0 /first2", "a@3.0.0.toml a refused",
		"b.toml b refused", "c d.toml c d refused")

	// A folder that comes later; the earlier one hides what has the same file name in it.
	if err := os.Mkdir(second, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(second, "a.toml"), service("a", "1.0.0", "/second"), 0o600)
	write(t, filepath.Join(second, "a@4.0.0.toml"), service("a", "4.0.0", "/second4"), 0o600)
	wantEntries(t, "a, two folders", c.Named("a"), "a.toml a 1.0.0 /first", "a@2.0.0.toml a 2.0.0 /first2", "a@3.0.0.toml a refused",
		"a@4.0.0.toml a 4.0.0 /second4")

	// What changes counts at once, and so do owners and modes.
	write(t, filepath.Join(first, "a@3.0.0.toml"), service("a", "", "/first3"), 0o600)
	chmod(t, filepath.Join(first, "b.toml"), 0o600)
	if err := os.Remove(filepath.Join(first, "a.toml")); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, "a, changed", c.Named("a"), "a@2.0.0.toml a 2.0.0 /first2", "a@3.0.0.toml a 3.0.0 /first3", "a.toml a 1.0.0 /second",
		"a@4.0.0.toml a 4.0.0 /second4")
	wantEntries(t, "b, changed", c.Named("b"), "b.toml b  /b")
	chmod(t, second, 0o777)
	wantEntries(t, "a, folder open to all", c.Named("a"), "a@2.0.0.toml a 2.0.0 /first2", "a@3.0.0.toml a 3.0.0 /first3", "a.toml a refused",
		"a@4.0.0.toml a refused")
	if err := os.RemoveAll(second); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, "a, one folder", c.Named("a"), "a@2.0.0.toml a 2.0.0 /first2", "a@3.0.0.toml a 3.0.0 /first3")
}

func TestCatalogueUnreadableFolder(t *testing.T) {
	t.Parallel()
	folder := private(t)
	write(t, filepath.Join(folder, "a.toml"), service("a", "", "/a"), 0o600)
	c := definition.NewCatalogue([]string{filepath.Join(folder, "a.toml"), folder}, os.Getuid())
	wantEntries(t, "a", c.Named("a"), "a.toml a  /a")
	all := c.All()
	if len(all) != 2 || all[1].Name != "" || all[1].Err == nil || !strings.Contains(all[1].Err.Error(), "cannot read the folder: not a directory") {
		t.Errorf("all: %+v", all)
	}
}

// A file that is rewritten in place again and again, with as many bytes, within one tick of the clock of files, is
// never taken for what it was.
func TestCatalogueSeesEveryChange(t *testing.T) {
	t.Parallel()
	folder := private(t)
	path := filepath.Join(folder, "a.toml")
	c := definition.NewCatalogue([]string{folder}, os.Getuid())
	for i := range 500 {
		program := fmt.Sprintf("/bin/%03d", i)
		write(t, path, service("a", "", program), 0o600)
		wantEntries(t, "a", c.Named("a"), "a.toml a  "+program)
		extra := filepath.Join(folder, fmt.Sprintf("x@1.0.%d.toml", i))
		write(t, extra, service("x", "", program), 0o600)
		if got := len(c.Named("x")); got != 1 {
			t.Fatalf("%d definitions of x, want 1", got)
		}
		if err := os.Remove(extra); err != nil {
			t.Fatal(err)
		}
		if got := len(c.Named("x")); got != 0 {
			t.Fatalf("%d definitions of x, want none", got)
		}
	}
}

// An unchanged file is not read again. Reading shows in the time of the last access, where the file system keeps it;
// here the proof is that the same slice comes back.
func TestCatalogueKeepsWhatIsUnchanged(t *testing.T) {
	t.Parallel()
	folder := private(t)
	write(t, filepath.Join(folder, "a.toml"), service("a", "", "/a"), 0o600)
	c := definition.NewCatalogue([]string{folder}, os.Getuid())
	kept := func() bool {
		first, second := c.Named("a"), c.Named("a")
		return &first[0].Definition.Exec[0] == &second[0].Definition.Exec[0]
	}
	deadline := time.Now().Add(10 * time.Second)
	for !kept() { // until the file is old enough
		if time.Now().After(deadline) {
			t.Fatal("the file is read each time")
		}
	}
	if !kept() {
		t.Error("the file was read again")
	}
	chmod(t, filepath.Join(folder, "a.toml"), 0o640)
	chmod(t, folder, 0o700)
	wantEntries(t, "a", c.Named("a"), "a.toml a  /a")
}

func TestCatalogueConcurrently(t *testing.T) {
	t.Parallel()
	folder := private(t)
	path := filepath.Join(folder, "a.toml")
	write(t, path, service("a", "", "/a"), 0o600)
	c := definition.NewCatalogue([]string{folder}, os.Getuid())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				c.All()
				for _, e := range c.Named("a") {
					if e.Err != nil {
						t.Error(e.Err)
					}
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 200 {
			next := filepath.Join(folder, "next")
			if err := os.WriteFile(next, []byte(service("a", "", fmt.Sprintf("/a%d", i))), 0o600); err != nil {
				t.Error(err)
			}
			if err := os.Rename(next, path); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	wantEntries(t, "a", c.Named("a"), "a.toml a  /a199")
}

func BenchmarkNamed(b *testing.B) {
	folder := b.TempDir()
	if err := os.Chmod(folder, 0o700); err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(folder, name+".toml"), []byte(service(name, "", "/a")), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	c := definition.NewCatalogue([]string{folder, folder + "/missing"}, os.Getuid())
	for b.Loop() {
		if len(c.Named("a")) != 1 {
			b.Fatal("a is missing")
		}
	}
}
