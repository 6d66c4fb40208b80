// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"path/filepath"
	"sync"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/servedef"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// warmServices remembers what definition files of the original's came to, with the states of all that was looked at. As long as those
// are the same, a Hello costs a look at each and no goroutine; whatever changed counts at once. Only files in local file systems are
// remembered: the loop looks at them, and must not wait.
type warmServices struct {
	mu    sync.Mutex
	known map[directory.Key]warmService
}

// warmService is what one version of a service came to.
type warmService struct {
	definitions []directory.Definition
	looked      [5]look
	until       int64 // links in the middle of the program's path are looked at again then
}

// look is a file, and how it was found.
type look struct {
	path   string
	follow bool
	state  sys.FileState
}

const (
	warmMax = 1024
	warmFor = time.Second
)

// recall returns what is known, if it still holds.
func (w *warmServices) recall(key directory.Key, now int64) []directory.Definition {
	w.mu.Lock()
	known, ok := w.known[key]
	w.mu.Unlock()
	if !ok || now >= known.until {
		return nil
	}
	for _, l := range known.looked {
		if l.path == "" {
			continue
		}
		if s, ok := sys.StateOf(l.path, l.follow); !ok || s != l.state {
			return nil
		}
	}
	return known.definitions
}

// note remembers what reading files came to that began at a moment: nothing of them may have changed since.
func (w *warmServices) note(key directory.Key, folder string, l servedef.Loaded, definition directory.Definition, began time.Time, now int64) {
	known := warmService{definitions: []directory.Definition{definition}, until: now + int64(warmFor)}
	known.looked = [5]look{{path: folder}, {path: l.Path, follow: true}, {path: definition.Run.Argv[0]}}
	if named := filepath.Clean(l.Definition.BinaryPath); named != definition.Run.Argv[0] {
		known.looked[3] = look{path: named, follow: true}
	}
	known.looked[4] = look{path: l.Definition.PerVersionBinaryDir, follow: true}
	for i := range known.looked {
		l := &known.looked[i]
		var ok bool
		if l.path == "" {
			continue
		}
		if l.state, ok = sys.StateOf(l.path, l.follow); !ok || !l.state.Settled(began) || !sys.IsLocal(l.path) {
			return
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known == nil || len(w.known) >= warmMax {
		w.known = make(map[directory.Key]warmService)
	}
	w.known[key] = known
}
