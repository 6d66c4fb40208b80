// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/internal/admin"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden: each verb's reply to a busy snapshot is the one in testdata/golden, which people have looked at.
func TestGolden(t *testing.T) {
	t.Parallel()
	quiet := admin.Snapshot{GeneratedUnixMS: now, Instance: "private:zccache", PID: 7}
	for name, c := range map[string]struct {
		req envelope.AdminRequest
		s   admin.Snapshot
	}{
		"status.txt":                     {envelope.AdminRequest{Verb: envelope.VerbStatus}, busy()},
		"status.json":                    {envelope.AdminRequest{Verb: envelope.VerbStatus, JSON: true}, busy()},
		"status-quiet.json":              {envelope.AdminRequest{Verb: envelope.VerbStatus, JSON: true}, quiet},
		"dump.json":                      {envelope.AdminRequest{Verb: envelope.VerbDump}, busy()},
		"dump-quiet.json":                {envelope.AdminRequest{Verb: envelope.VerbDump}, quiet},
		"list-instances.json":            {envelope.AdminRequest{Verb: envelope.VerbListInstances}, busy()},
		"list-instances-quiet.json":      {envelope.AdminRequest{Verb: envelope.VerbListInstances}, quiet},
		"healthz.txt":                    {envelope.AdminRequest{Verb: envelope.VerbHealthz, JSON: true}, quiet},
		"readyz.txt":                     {envelope.AdminRequest{Verb: envelope.VerbReadyz, JSON: true}, busy()},
		"readyz-quiet.txt":               {envelope.AdminRequest{Verb: envelope.VerbReadyz}, quiet},
		"backend-health.json":            {envelope.AdminRequest{Verb: envelope.VerbBackendHealth, ServiceName: "zccache"}, busy()},
		"backend-health-no-service.json": {envelope.AdminRequest{Verb: envelope.VerbBackendHealth}, busy()},
		"config.json":                    {envelope.AdminRequest{Verb: envelope.VerbConfig}, busy()},
		"diagnose.json":                  {envelope.AdminRequest{Verb: envelope.VerbDiagnose, OutputPath: "/tmp/x.tar.gz"}, busy()},
		"metrics.txt":                    {envelope.AdminRequest{Verb: envelope.VerbMetrics}, busy()},
		"shutdown.txt":                   {envelope.AdminRequest{Verb: envelope.VerbShutdown, DrainDeadlineMS: 5000}, busy()},
		"unspecified.txt":                {envelope.AdminRequest{JSON: true}, busy()},
		"20.txt":                         {envelope.AdminRequest{Verb: 20}, busy()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := admin.Reply(c.req, c.s)
			if json := strings.HasSuffix(name, ".json"); json != (r.Kind == envelope.AdminJSON) {
				t.Errorf("kind %d", r.Kind)
			}
			got := goldenText(t, r)
			path := filepath.Join("testdata", "golden", name)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// goldenText is a reply as a file: its content type, exit code and body; JSON is indented, and nothing else changes.
func goldenText(t *testing.T, r envelope.AdminReply) string {
	t.Helper()
	body := r.Body
	if r.Kind == envelope.AdminJSON {
		if strings.ContainsRune(body, '\n') {
			t.Error("a JSON body has more than one line")
		}
		var b bytes.Buffer
		if err := json.Indent(&b, []byte(body), "", "  "); err != nil {
			t.Fatal(err)
		}
		return b.String() + "\n"
	}
	return body
}

// TestExitCodes: only a broker that is not ready, and verbs that do not exist, have one.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	for verb := range envelope.AdminVerb(30) {
		var want uint32
		switch {
		case verb == envelope.VerbReadyz:
			want = 1
		case verb == 0, verb > envelope.VerbMetrics && verb != envelope.VerbShutdown:
			want = 2
		}
		if r := admin.Reply(envelope.AdminRequest{Verb: verb}, admin.Snapshot{Accepting: true}); r.ExitCode != want {
			t.Errorf("%v: exit code %d, want %d", verb, r.ExitCode, want)
		}
	}
}

// TestSettingThatCannotBeEncoded: the body still is JSON, and says why.
func TestSettingThatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	s := admin.Snapshot{Settings: []admin.Setting{{Group: "limits", Key: "x", Value: func() {}, Source: "default"}}}
	r := admin.Reply(envelope.AdminRequest{Verb: envelope.VerbConfig}, s)
	var body map[string]any
	if err := json.Unmarshal([]byte(r.Body), &body); err != nil || body["error"] == nil {
		t.Errorf("%s: %v", r.Body, err)
	}
}
