// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// TestRunningProcessVectorDefinition: what a broken definition file is refused with, by the vectors of definitions.
func TestRunningProcessVectorDefinition(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.serve(t)
	n := 0
	for _, v := range vectors(t) {
		if !strings.HasPrefix(v.Name, "servedef-") && !strings.HasPrefix(v.Name, "servicedef-") || v.Expect.Refusal == nil {
			continue
		}
		n++
		t.Run(v.Name, func(t *testing.T) {
			data, err := hex.DecodeString(v.Hex)
			if err != nil {
				t.Fatal(err)
			}
			name := "zccache"
			if d, err := envelope.ParseServiceDefinition(data); err == nil && envelope.ValidName(d.ServiceName) && !strings.Contains(v.Name, "mismatch") {
				name = d.ServiceName
			}
			o.write(t, name+".servicedef", data)
			r := o.refused(t, name, goodVersion)
			if uint32(r.Code) != v.Expect.Refusal.Code || r.Reason != v.Expect.Refusal.Reason || r.RetryAfterMS != 0 {
				t.Errorf("refused with %+v, want %+v", r, *v.Expect.Refusal)
			}
		})
	}
	if n < 8 {
		t.Errorf("only %d vectors", n)
	}
}

// TestRunningProcessDefinitionChanges: definitions are read for every Hello.
func TestRunningProcessDefinitionChanges(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.serve(t)
	if r := o.refused(t, "tool", goodVersion); r.Reason != "service definition was not found" {
		t.Errorf("before there is one: %+v", r)
	}
	o.define(t, "tool", "adopt")
	first := o.hello(t, "tool", goodVersion)
	for range 3 {
		o.define(t, "tool", "adopt", func(d *envelope.ServiceDefinition) { d.VersionAllowList = []string{"9.9.9"} })
		if r := o.refused(t, "tool", goodVersion); r.Code != envelope.CodeVersionBlocked {
			t.Errorf("when it does not allow the version: %+v", r)
		}
		o.define(t, "tool", "adopt")
		if again := o.hello(t, "tool", goodVersion); again.BackendPipe != first.BackendPipe {
			t.Errorf("pipe %s, then %s", first.BackendPipe, again.BackendPipe)
		}
	}
	if err := os.Remove(filepath.Join(o.defs, "tool.servicedef")); err != nil {
		t.Fatal(err)
	}
	if r := o.refused(t, "tool", goodVersion); r.Reason != "service definition was not found" {
		t.Errorf("when it was removed: %+v", r)
	}
	o.define(t, "tool", "adopt")
	if again := o.hello(t, "tool", goodVersion); again.BackendPipe != first.BackendPipe {
		t.Errorf("pipe %s, then %s", first.BackendPipe, again.BackendPipe)
	}
}

// TestRunningProcessBuiltAnew: a program that is built anew at the same path is another backend.
func TestRunningProcessBuiltAnew(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "tool", "adopt")
	o.serve(t)
	path := o.program(t, "adopt")
	_, first := ping(t, o.hello(t, "tool", goodVersion).BackendPipe)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// By a child: here, the file could be open for writing in a process that is being forked.
	cmd := o.command(t, "sh", "-c", `cat >"$1.new" && chmod 755 "$1.new" && mv "$1.new" "$1"`, "sh", path)
	cmd.Stdin = bytes.NewReader(append(text, "more"...))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, second := ping(t, o.hello(t, "tool", goodVersion).BackendPipe)
	if first == second {
		t.Error("the old program answers")
	}
	o.until(t, "the old one, which nobody calls any more, to end", func() bool { return !isRunning(first) })
}

// TestRunningProcessInsecureDefinitions: what others may write is not obeyed, by neither name of a file. The original obeys
// .servicedef.v2 there.
func TestRunningProcessInsecureDefinitions(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{".servicedef", ".servicedef.v2"} {
		t.Run(suffix, func(t *testing.T) {
			t.Parallel()
			o := newOriginal(t)
			d := envelope.ServiceDefinition{ServiceName: "tool", BinaryPath: o.program(t, "adopt"), Isolation: envelope.SharedBroker}
			o.write(t, "tool"+suffix, d.Append(nil))
			o.serve(t)
			for _, mode := range []os.FileMode{0o755, 0o770, 0o702, 0o701} {
				if err := os.Chmod(o.defs, mode); err != nil {
					t.Fatal(err)
				}
				r := o.refused(t, "tool", goodVersion)
				if r.Code != envelope.CodeServiceUnknown || !strings.HasPrefix(r.Reason, "service definition could not be loaded: service-definition directory has insecure permissions: ") {
					t.Errorf("with mode %o: refused with %+v", mode, r)
				}
			}
			if err := os.Chmod(o.defs, 0o700); err != nil {
				t.Fatal(err)
			}
			o.hello(t, "tool", goodVersion)
		})
	}
}

// TestRunningProcessDefinitionV2: .servicedef.v2 goes before .servicedef, and is validated as that is.
func TestRunningProcessDefinitionV2(t *testing.T) {
	t.Parallel()
	o := newOriginal(t)
	o.define(t, "tool", "adopt", func(d *envelope.ServiceDefinition) { d.MinVersion = "9.0.0" })
	d := envelope.ServiceDefinition{ServiceName: "tool", BinaryPath: o.program(t, "adopt"), Isolation: envelope.SharedBroker,
		HTTPServer: &envelope.HTTPServer{BindAddr: "127.0.0.1:0"}}
	o.write(t, "tool.servicedef.v2", d.Append(nil))
	o.write(t, "other.servicedef.v2", envelope.ServiceDefinition{ServiceName: "other", BinaryPath: "bin/tool"}.Append(nil))
	o.serve(t)
	o.hello(t, "tool", goodVersion)
	r := o.refused(t, "other", goodVersion)
	if want := fmt.Sprintf("service definition could not be loaded: service-definition binary_path is invalid: %q (must be absolute)", "bin/tool"); r.Reason != want {
		t.Errorf("refused with %+v", r)
	}
}
