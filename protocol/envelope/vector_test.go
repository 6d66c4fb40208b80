// SPDX-License-Identifier: Apache-2.0

package envelope_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/vectortest"
)

// vector is one example of the protocol. What a test reads of expect and setup
// is noted, and what nobody has read fails: a vector never passes by accident.
type vector struct {
	Name   string
	What   string
	Hex    string
	Note   string
	Origin string
	Source string
	Input  values
	Setup  values
	Expect values

	all map[string]*vector // those of the same file
}

type values = vectortest.Values

func texts(l []any) (s []string) {
	for _, x := range l {
		s = append(s, x.(string))
	}
	return s
}

func (v *vector) bytes(t testing.TB) []byte { t.Helper(); return unhex(t, v.Hex) }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readVectors returns the vectors of a file, or none if it is about something else.
func readVectors(t testing.TB, file string) []*vector {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var head struct {
		Format  any
		Subject string
		Counts  struct{ Total int }
	}
	if err := json.Unmarshal(b, &head); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if !strings.Contains(head.Subject, "running-process") {
		return nil
	}
	if fmt.Sprint(head.Format) != "1" {
		t.Fatalf("%s has unknown format %v", file, head.Format)
	}
	var body struct{ Vectors []*vector }
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&body); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(body.Vectors) == 0 {
		t.Fatalf("%s has no vectors", file)
	}
	all := make(map[string]*vector)
	for _, v := range body.Vectors {
		all[v.Name], v.all = v, all
	}
	return body.Vectors
}

// TestVector runs every vector, as a subtest with its name.
func TestVector(t *testing.T) {
	ran := make(map[string]bool)
	for _, file := range vectortest.Files(t, "testdata") {
		for _, v := range readVectors(t, file) {
			same := fmt.Sprint(v.Name, v.Hex, v.Input, v.Setup, v.Expect)
			if ran[same] {
				continue // a file that is in both folders
			}
			ran[same] = true
			t.Run(v.Name, func(t *testing.T) { runVector(t, v) })
		}
	}
	if len(ran) < 200 {
		t.Errorf("only %d vectors ran", len(ran))
	}
}

// check is one kind of expectation; that is told by a key of expect or input, or by the name.
type check struct {
	applies func(v *vector) bool
	run     func(t *testing.T, v *vector)
}

func expects(key string) func(*vector) bool {
	return func(v *vector) bool { return v.Expect.Has(key) }
}

func needs(key string) func(*vector) bool {
	return func(v *vector) bool { return v.Input.Has(key) }
}

func named(prefix string) func(*vector) bool {
	return func(v *vector) bool { return strings.HasPrefix(v.Name, prefix) }
}

var checks = []check{
	{needs("window_ms"), vectorRateLimit},
	{needs("attempts_at_ms"), vectorBudget},
	{needs("outcomes"), vectorBudget},
	{needs("events"), vectorPressure},
	{needs("present"), vectorTokenStore},
	{needs("registered_at_ms"), vectorAckDeadline},
	{needs("attempts"), vectorBackoff},
	{needs("samples_us"), vectorPercentiles},
	{needs("budget"), vectorGate},
	{needs("values"), vectorDisable},
	{needs("ids"), vectorRanges},
	{named("version-policy-v2"), vectorPolicyV2},
	{named("manifest-"), vectorManifest},
	{expects("encoded_len"), vectorLifecycle},
	{expects("header_hex"), vectorHeader},
	{expects("message"), vectorMessage},
	{expects("read"), vectorFraming},
	{expects("outcome"), vectorOutcome},
	{expects("verify"), vectorProbeReply},
	{expects("serve"), vectorProbeServe},
	{expects("mux"), vectorMux},
	{expects("recv_len"), vectorSideband},
	{expects("ack"), vectorAck},
	{expects("client"), vectorReady},
	{expects("offer"), vectorOffer},
	{expects("hash16"), vectorIdentity},
	{expects("bare_name"), vectorAddress},
	{expects("valid"), vectorValid},
	{expects("result"), vectorPolicy},
	{expects("load"), vectorDefinition},
}

func runVector(t *testing.T, v *vector) {
	for _, c := range checks {
		if !c.applies(v) {
			continue
		}
		c.run(t, v)
		delete(v.Expect, "note") // words for people
		for key, x := range v.Expect {
			t.Errorf("nobody has looked at expect.%s: %v", key, x)
		}
		for key, x := range v.Setup {
			t.Errorf("nobody has looked at setup.%s: %v", key, x)
		}
		for key, x := range v.Input {
			t.Errorf("nobody has looked at input.%s: %v", key, x)
		}
		return
	}
	t.Fatalf("unknown kind of expectation: %v", v.Expect)
}
