// SPDX-License-Identifier: Apache-2.0

package servedef_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/switchboard-ipc/switchboard/internal/definition"
	"github.com/switchboard-ipc/switchboard/internal/servedef"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

func TestToTOML(t *testing.T) {
	t.Parallel()
	d := envelope.ServiceDefinition{
		ServiceName: "zccache", BinaryPath: `/opt/zc "cache"\bin`, Isolation: envelope.ExplicitInstance, ExplicitInstance: "ci-trusted",
		PerVersionBinaryDir: "/opt/zccache/versions", MinVersion: "1.10.0", VersionAllowList: []string{"1.11.20", "1.12.0-rc.1"},
		Labels: map[string]string{"owner": "tools", "a\nb": "c\x7fd\u0085"}, HTTPServer: &envelope.HTTPServer{HealthPath: "/health"},
	}
	text, err := servedef.ToTOML(d, "1.12.0-rc.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nname = \"zccache\"\nversion = \"1.12.0-rc.1\"\nexec = [\"/opt/zc \\\"cache\\\"\\\\bin\"]\naccept = \"listener\"\n",
		"#   broker instance         explicit:ci-trusted\n", "#   per_version_binary_dir  \"/opt/zccache/versions\"\n", "#   min_version             \"1.10.0\"\n",
		"#   version_allow_list      1.11.20 1.12.0-rc.1\n",
		"#   label                   \"a\\u000Ab\" = \"c\\u007Fd\\u0085\"\n#   label                   \"owner\" = \"tools\"\n", `health_path "/health"`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	got, err := definition.Parse("zccache@1.12.0-rc.1.toml", text)
	want := definition.Default()
	want.File, want.Name, want.Version, want.Exec = "zccache@1.12.0-rc.1.toml", "zccache", "1.12.0-rc.1", []string{d.BinaryPath}
	want.Env = []string{
		"RUNNING_PROCESS_BROKER_LISTENER_FD=3",
		"RUNNING_PROCESS_BROKER_V1_BACKEND_NAMESPACE=explicit:ci-trusted",
		"RUNNING_PROCESS_BROKER_V1_BACKEND_PIPE=${SWITCHBOARD_SOCKET}",
		"RUNNING_PROCESS_BROKER_V1_INSTANCE=explicit:ci-trusted",
		"RUNNING_PROCESS_BROKER_V1_SERVICE_NAME=zccache",
		"RUNNING_PROCESS_BROKER_V1_SERVICE_VERSION=1.12.0-rc.1",
		"RUNNING_PROCESS_IS_DAEMON=1",
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestToTOMLRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		change  func(d *envelope.ServiceDefinition)
		version string
		want    string
	}{
		{nil, "", `"" is not a version`},
		{nil, "v1.0.0", `"v1.0.0" is not a version`},
		{nil, "01.2.3", `tool 01.2.3 cannot be a definition of Switchboard: version "01.2.3" is malformed`},
		{func(d *envelope.ServiceDefinition) { d.MinVersion = "1.10.0" }, "1.9.9", "does not allow 1.9.9: wanted_version is below min_version"},
		{func(d *envelope.ServiceDefinition) { d.VersionAllowList = []string{"1.0.0"} }, "1.0.1", "does not allow 1.0.1: wanted_version is not in version_allow_list"},
		{func(d *envelope.ServiceDefinition) { d.BinaryPath = "tool" }, "1.0.0", "binary_path is invalid"},
		{func(d *envelope.ServiceDefinition) { d.BinaryPath = "/a\x00b" }, "1.0.0", "NUL byte"},
		{func(d *envelope.ServiceDefinition) { d.BinaryPath = "/opt/${SCOPE}/tool" }, "1.0.0", "there is no scope"},
	} {
		d := sample("tool")
		if test.change != nil {
			test.change(&d)
		}
		text, err := servedef.ToTOML(d, test.version)
		if err == nil || text != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want …%s…", test.version, err, test.want)
		}
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		floor   string
		list    []string
		asked   string
		want    []string
		problem string
	}{
		{"", nil, "1.0.0", []string{"1.0.0"}, ""},
		{"", nil, "", nil, "give one with --version"},
		{"1.0.0", nil, "", nil, "give one with --version"},
		{"", []string{"1.1.0", "1.0.0", "1.1.0"}, "", []string{"1.1.0", "1.0.0"}, ""},
		{"1.0.5", []string{"1.1.0", "1.0.0"}, "", []string{"1.1.0"}, ""},
		{"2.0.0", []string{"1.1.0", "1.0.0"}, "", nil, "allows no version"},
		{"", []string{"1.1.0", "1.0.0"}, "1.0.0", []string{"1.0.0"}, ""},
		{"", []string{"1.1.0"}, "1.0.0", nil, "not in version_allow_list"},
		{"", nil, "^1.0", nil, "is not a version"},
	} {
		d := sample("tool")
		d.MinVersion, d.VersionAllowList = test.floor, test.list
		got, err := servedef.Versions(d, test.asked)
		switch {
		case test.problem == "" && (err != nil || !slices.Equal(got, test.want)):
			t.Errorf("%+v: %v, %v", test, got, err)
		case test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem)):
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// TestToTOMLAnyText sees that no text of theirs breaks out of where it is put: the result is valid and says the same.
func TestToTOMLAnyText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := sample(rapid.StringMatching(`[a-z0-9-]{1,64}`).Draw(t, "service"))
		d.BinaryPath = "/" + strings.NewReplacer("\x00", "", "${", "").Replace(rapid.String().Draw(t, "path"))
		d.PerVersionBinaryDir = "/" + rapid.String().Draw(t, "folder")
		d.Labels = rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "labels")
		text, err := servedef.ToTOML(d, "1.2.3")
		if err != nil {
			t.Fatal(err)
		}
		got, err := definition.Parse(servedef.FileName(d.ServiceName, "1.2.3"), text)
		if err != nil || got.Name != d.ServiceName || !slices.Equal(got.Exec, []string{d.BinaryPath}) || len(got.Env) != 7 {
			t.Fatalf("%+v, %v", got, err)
		}
	})
}
