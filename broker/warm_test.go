// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/servedef"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// TestWarmServices: whatever could change what a definition comes to is seen at the next look.
func TestWarmServices(t *testing.T) {
	t.Parallel()
	key := directory.Key{Namespace: directory.Root, Name: "tool", Version: "1.0.0"}
	for name, change := range map[string]func(folder, file, program string) error{
		"nothing":              nil,
		"the definition":       func(_, file, _ string) error { return os.WriteFile(file, []byte("other"), 0o600) },
		"its mode":             func(_, file, _ string) error { return os.Chmod(file, 0o622) },
		"its absence":          func(_, file, _ string) error { return os.Remove(file) },
		"one that goes before": func(_, file, _ string) error { return os.WriteFile(file+".v2", nil, 0o600) },
		"the folder's mode":    func(folder, _, _ string) error { return os.Chmod(folder, 0o755) },
		"the program":          func(_, _, program string) error { return os.WriteFile(program, []byte("newer"), 0o700) },
		"another program": func(_, _, program string) error {
			if err := os.WriteFile(program+".new", []byte("build"), 0o700); err != nil {
				return err
			}
			return os.Rename(program+".new", program)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder, programs := filepath.Join(t.TempDir(), "services"), t.TempDir()
			file, program := filepath.Join(folder, "tool.servicedef"), filepath.Join(programs, "tool")
			if !sys.IsLocal(programs) {
				t.Skip("SKIPPED: the temporary folder is in a file system that is not remembered")
			}
			began := time.Now()
			for _, err := range []error{os.Mkdir(folder, 0o700), os.WriteFile(file, []byte("first"), 0o600), os.WriteFile(program, []byte("build"), 0o700)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			loaded := servedef.Loaded{Definition: envelope.ServiceDefinition{ServiceName: "tool", BinaryPath: program}, Path: file}
			definition := directory.Definition{Version: "1.0.0", Run: directory.Command{Argv: []string{program}}}
			var w warmServices
			if w.note(key, folder, loaded, definition, began, 0); w.recall(key, 0) != nil {
				t.Error("what has changed since is remembered")
			}
			time.Sleep(100 * time.Millisecond)
			if w.note(key, folder, loaded, definition, time.Now(), 0); len(w.recall(key, 0)) != 1 {
				t.Fatal("it is not remembered")
			}
			if change == nil {
				if w.recall(key, int64(warmFor)) != nil {
					t.Error("it is remembered for ever")
				}
				return
			}
			if err := change(folder, file, program); err != nil {
				t.Fatal(err)
			}
			if w.recall(key, 0) != nil {
				t.Error("the change is not seen")
			}
		})
	}
}
