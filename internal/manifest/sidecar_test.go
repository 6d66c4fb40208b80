// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/internal/manifest"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

func TestIdentity(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "daemon-identity.json")
	for _, idle := range []*uint32{nil, new(uint32)} {
		id := manifest.Identity{Process: envelope.DaemonProcess{
			PID: 42, ExePath: "/opt/tool", ExeHashAlgorithm: "blake3", ExeHash: bytes.Repeat([]byte{0xfe}, 32), BootID: "b", StartedAtUnixMS: 1 << 60,
			IPCEndpoint: &envelope.Endpoint{NamespaceID: "shared", Path: "/run/tool.sock"}, IdleTimeoutSecs: idle,
		}}
		id.SHA256[31] = 7
		if err := manifest.WriteIdentity(file, id); err != nil {
			t.Fatal(err)
		}
		got, err := manifest.ReadIdentity(file)
		if diff := cmp.Diff(id, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	alone(t, folder, "daemon-identity.json")

	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"{\n  \"pid\": 42,\n", "\"exe_hash_algorithm\": \"blake3\"", "\"exe_hash\": [\n    254,\n", "\"legacy_exe_sha256\": [\n    0,\n", "    7\n  ],\n",
		"\"ipc_endpoint\": {\n    \"namespace_id\": \"shared\",\n    \"path\": \"/run/tool.sock\"\n  },\n", "\"started_at_unix_ms\": 1152921504606846976,\n", "\"idle_timeout_secs\": 0\n}"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}

	// Files of before the second hash are read; broken ones are not.
	for key, ok := range map[string]bool{"legacy_exe_sha256": true, "idle_timeout_secs": true, "exe_hash": false, "pid": false, "ipc_endpoint": false} {
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatal(err)
		}
		delete(fields, key)
		data, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		reads(t, file, string(data), ok)
	}
	for _, change := range [][2]string{{"254,", "256,"}, {"254,", "-1,"}, {"254,", ""}, {"42", "4294967296"}, {"{", ""}} {
		reads(t, file, strings.Replace(string(text), change[0], change[1], 1), false)
	}

	if err := errors.Join(manifest.RemoveIdentity(file), manifest.RemoveIdentity(file)); err != nil {
		t.Error(err)
	}
	if _, err := manifest.ReadIdentity(file); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := manifest.WriteIdentity(file, manifest.Identity{}); err == nil {
		t.Error("an identity of nothing is written")
	}
}

func reads(t *testing.T, file, text string, ok bool) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if id, err := manifest.ReadIdentity(file); (err == nil) != ok {
		t.Errorf("%s\n%+v, %v", text, id, err)
	}
}
