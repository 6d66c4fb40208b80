// SPDX-License-Identifier: Apache-2.0

package servedef_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/servedef"
	"github.com/switchboard-ipc/switchboard/internal/vectortest"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// vector is one of the protocol's that is a definition file.
type vector struct {
	Name, What, Hex string
	Expect          struct {
		Load         string
		Instance     string
		Detail       string
		DetailPrefix string `json:"detail_prefix"`
		HelloRefusal *struct {
			Code   envelope.ErrorCode
			Reason string
		} `json:"hello_refusal"`
	}
}

// vectors reads the definition files of all vectors: those of the codec, and those in the folder $SWITCHBOARD_VECTORS.
func vectors(t *testing.T) []vector {
	t.Helper()
	var all []vector
	for _, file := range vectortest.Files(t, filepath.Join("..", "..", "protocol", "envelope", "testdata")) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var format struct {
			Subject string
			Vectors []json.RawMessage
		}
		if err := json.Unmarshal(data, &format); err != nil || !strings.HasPrefix(format.Subject, "running-process broker v1") {
			continue // of another protocol
		}
		for _, raw := range format.Vectors {
			var begin struct{ Name string }
			var v vector
			if err := json.Unmarshal(raw, &begin); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(begin.Name, "servicedef-") {
				continue
			}
			if err := json.Unmarshal(raw, &v); err != nil {
				t.Fatalf("%s: %v", begin.Name, err)
			}
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		t.Fatal("no vector is a definition file")
	}
	return all
}

// namedFile finds the file's name where a vector says it.
var namedFile = regexp.MustCompile(`([a-z0-9-]+)(\.servicedef(?:\.v2)?)\b`)

// TestVectorDefinitionFile loads each definition file of the vectors from a folder as it should be.
func TestVectorDefinitionFile(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			data, err := hex.DecodeString(v.Hex)
			if err != nil {
				t.Fatal(err)
			}
			service, suffix := "zccache", servedef.Suffix
			if d, err := envelope.ParseServiceDefinition(data); err == nil && d.ServiceName != "" {
				service = d.ServiceName
			}
			if m := namedFile.FindStringSubmatch(v.What); m != nil {
				service, suffix = m[1], m[2]
			}
			folder := private(t)
			write(t, filepath.Join(folder, service+suffix), data, 0o600)
			loaded, err := servedef.Load(folder, service, os.Geteuid())

			if strings.HasSuffix(v.Name, "-unvalidated") {
				if err == nil {
					t.Error("the rules hold for .servicedef.v2 as well, other than in the original (D9)")
				}
				return
			}
			if v.Expect.Load == "ok" {
				if err != nil {
					t.Fatal(err)
				}
				if instance, err := envelope.InstanceID(loaded.Definition); err != nil || v.Expect.Instance != "" && instance != v.Expect.Instance {
					t.Errorf("%q, %v, want %q", instance, err, v.Expect.Instance)
				}
				return
			}
			if err == nil || v.Expect.Detail != "" && err.Error() != v.Expect.Detail || !strings.HasPrefix(err.Error(), v.Expect.DetailPrefix) {
				t.Fatalf("%v, want %s%s", err, v.Expect.Detail, v.Expect.DetailPrefix)
			}
			if want := v.Expect.HelloRefusal; want != nil {
				if got := envelope.DefinitionRefusal(err); got.Code != want.Code || got.Reason != want.Reason {
					t.Errorf("%+v, want %+v", got, *want)
				}
			}
		})
	}
}
