// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/internal/manifest"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

func TestRegistry(t *testing.T) {
	t.Parallel()
	tests := []struct {
		goos, home string
		env        map[string]string
		want       string
	}{
		{"linux", "/home/a", nil, "/home/a/.local/share/running-process/manifests"},
		{"linux", "/home/a", map[string]string{"XDG_DATA_HOME": "/d"}, "/d/running-process/manifests"},
		{"linux", "/home/a", map[string]string{"XDG_DATA_HOME": "d"}, "/home/a/.local/share/running-process/manifests"},
		{"linux", "", nil, ""},
		{"linux", "/home/a", map[string]string{manifest.EnvFolder: "/m", "XDG_DATA_HOME": "/d"}, "/m"},
		{"darwin", "/Users/a", nil, "/Users/a/Library/Application Support/running-process/manifests"},
		{"darwin", "", nil, ""},
		{"windows", `C:\Users\a`, map[string]string{"APPDATA": `D:\Roaming`}, `D:\Roaming\running-process\manifests`},
		{"windows", `C:\Users\a\`, nil, `C:\Users\a\AppData\Roaming\running-process\manifests`},
		{"windows", "", nil, ""},
	}
	for _, test := range tests {
		got := manifest.Registry(func(key string) string { return test.env[key] }, test.home, test.goos)
		if got != test.want {
			t.Errorf("%s, home %q, %v: %q, want %q", test.goos, test.home, test.env, got, test.want)
		}
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	if got := manifest.InCache("/cache"); got != "/cache/.running-process-manifest.pb" {
		t.Error(got)
	}
	if got, err := manifest.InRegistry("/m", "zccache", "1.2.3"); err != nil || got != "/m/zccache-1.2.3.pb" {
		t.Error(got, err)
	}
	for _, bad := range [][3]string{{"", "a", "1.2.3"}, {"/m", "../a", "1.2.3"}, {"/m", "a", "../1"}, {"/m", "a", "1.0.0..evil/x"}, {"/m", "", "1.2.3"}} {
		if got, err := manifest.InRegistry(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

// sample is a manifest whose maps have several entries.
func sample(service, version string) envelope.CacheManifest {
	return envelope.CacheManifest{
		ServiceName: service, ServiceVersion: version, BrokerEnvelopeVersion: "v1", CreatedAtUnixMS: 1, LastActiveUnixMS: 2, BrokerInstance: "shared",
		Roots: []envelope.CacheRoot{{Path: "/var/cache/" + service, Labels: map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}}},
	}
}

func TestWriteRead(t *testing.T) {
	t.Parallel()
	registry := filepath.Join(t.TempDir(), "data", "manifests")
	file, err := manifest.WriteRegistry(registry, sample("tool", "1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for range 16 { // the hash is the same whatever order a map has
		if err := manifest.Write(file, sample("tool", "1.2.3")); err != nil {
			t.Fatal(err)
		}
		again, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(first, again) {
			t.Fatalf("%x\n%x (%v)", first, again, err)
		}
		got, err := manifest.Read(file)
		if err != nil || got.ManifestSchemaVersion != 1 || got.MediaType != "application/vnd.running-process.cache-manifest.v1" || len(got.SelfSHA256) != 32 {
			t.Fatalf("%+v, %v", got, err)
		}
		want := sample("tool", "1.2.3")
		if diff := cmp.Diff(want.Roots, got.Roots); diff != "" {
			t.Error(diff)
		}
	}
	modes(t, map[string]fs.FileMode{registry: fs.ModeDir | 0o700, file: 0o600})
	alone(t, registry, "tool-1.2.3.pb")

	// A folder that is there is made private.
	cache := t.TempDir()
	if err := os.Chmod(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := manifest.Write(manifest.InCache(cache), sample("tool", "1.2.3")); err != nil {
		t.Fatal(err)
	}
	modes(t, map[string]fs.FileMode{cache: fs.ModeDir | 0o700, manifest.InCache(cache): 0o600})

	if _, err := manifest.WriteRegistry(registry, sample("../tool", "1.2.3")); err == nil {
		t.Error("a bad name is written")
	}
	if err := os.Mkdir(filepath.Join(registry, "x.pb"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := manifest.Write(filepath.Join(registry, "x.pb"), sample("x", "1.2.3")); err == nil {
		t.Error("a folder is overwritten")
	}
	large := sample("tool", "1.2.3")
	large.BundleID = strings.Repeat("x", envelope.MaxManifest)
	if err := manifest.Write(file, large); err == nil {
		t.Error("what nobody can read is written")
	}
	alone(t, registry, "tool-1.2.3.pb", "x.pb")
}

// TestAtomic reads while others write: always a whole one.
func TestAtomic(t *testing.T) {
	t.Parallel()
	file := manifest.InCache(t.TempDir())
	var writers sync.WaitGroup
	for _, service := range []string{"a", "b"} {
		writers.Go(func() {
			for range 20 {
				if err := manifest.Write(file, sample(service, "1.2.3")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for {
		if _, err := manifest.Read(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		select {
		case <-done:
			alone(t, filepath.Dir(file), filepath.Base(file))
			return
		default:
		}
	}
}

func TestEnumerate(t *testing.T) {
	t.Parallel()
	registry := t.TempDir()
	host := envelope.HostIdentity{Hostname: "h", MachineID: "m", BootID: "b"}
	for service, h := range map[string]*envelope.HostIdentity{
		"here": {MachineID: "m", BootID: "b", Hostname: "renamed"}, "anywhere": nil, "any-boot": {MachineID: "m"}, "any-machine": {BootID: "b"},
		"other-machine": {MachineID: "n", BootID: "b"}, "other-boot": {MachineID: "m", BootID: "c"},
	} {
		m := sample(service, "1.2.3")
		m.Host = h
		if _, err := manifest.WriteRegistry(registry, m); err != nil {
			t.Fatal(err)
		}
	}
	for base, data := range map[string]string{"broken-1.0.0.pb": "\xff", "note.txt": "", ".tool.pb.tmp-1-2": "", ".hidden.pb": "\xff"} {
		if err := os.WriteFile(filepath.Join(registry, base), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err := manifest.Enumerate(registry, host)
	var services []string
	for _, m := range found {
		services = append(services, m.ServiceName)
	}
	if want := "any-boot any-machine anywhere here"; err != nil || strings.Join(services, " ") != want {
		t.Errorf("%v, %v, want %s", services, err, want)
	}
	all, err := manifest.Scan(registry)
	if err != nil || len(all) != 7 {
		t.Errorf("%d entries, %v", len(all), err)
	}
	for _, e := range all {
		if broken := filepath.Base(e.Path) == "broken-1.0.0.pb"; broken != (e.Err != nil) {
			t.Errorf("%s: %v", e.Path, e.Err)
		}
	}

	for _, none := range []string{"", filepath.Join(registry, "none")} {
		if found, err := manifest.Enumerate(none, host); err != nil || len(found) != 0 {
			t.Errorf("%q: %v, %v", none, found, err)
		}
	}
	if err := os.Chmod(registry, 0o750); err != nil {
		t.Fatal(err)
	}
	var insecure *manifest.InsecureError
	if found, err := manifest.Enumerate(registry, host); !errors.As(err, &insecure) || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	h := manifest.Host(folder)
	if h.Hostname == "" || h.MachineID == "" || h.BootID == "" || h != manifest.Host(folder) {
		t.Errorf("%+v", h)
	}
	if _, err := os.Stat("/proc/self/ns/mnt"); err == nil && (!strings.HasPrefix(h.NamespaceID, "mnt:[") || !strings.Contains(h.NamespaceID, "]:pid:[") || h.FSDevID == 0) {
		t.Errorf("%+v", h)
	}
}

func modes(t *testing.T, want map[string]fs.FileMode) {
	t.Helper()
	for path, mode := range want {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
}

// alone sees that a folder has these files and no others.
func alone(t *testing.T, folder string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}
