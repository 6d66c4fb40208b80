// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/keyline"
)

// settled is the age at which a change is trusted to be the last of its moment: the clock of files is coarse, and a
// second change within one tick of it leaves no trace.
const settled = 50 * time.Millisecond

// Entry is one definition file: what it says, or why it does not count.
type Entry struct {
	File
	Definition Definition
	Err        error // an [*Error]; the Definition is empty then
}

// Catalogue answers from folders of definitions as they are when it is asked. It
// reads a folder or a file again only if it changed; the rules of ownership are
// applied each time. Its methods may be called from several goroutines; they read
// files, so not under a lock that others wait for.
type Catalogue struct {
	uid int

	// mu guards the folders' contents.
	mu      sync.Mutex
	folders []*cachedFolder
}

type cachedFolder struct {
	path  string
	state *stamp // as last read; nil: not to be relied on
	files []File
	named map[string][]File
	read  map[string]cachedFile // by path
	err   error                 // why it cannot be listed
}

type cachedFile struct {
	state      stamp
	definition Definition
	err        error
}

// NewCatalogue makes a catalogue of the folders, the first first (see [Folders]), for a broker that runs as the user uid.
func NewCatalogue(folders []string, uid int) *Catalogue {
	c := &Catalogue{uid: uid}
	for _, path := range folders {
		c.folders = append(c.folders, &cachedFolder{path: path})
	}
	return c
}

// Named returns the definitions of a name, those that do not count included, in
// the order of [List]. If two have the same version, the first is the one to use.
// The slices in a Definition are the catalogue's: not to be changed.
func (c *Catalogue) Named(name string) []Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries(func(f *cachedFolder) []File { return f.named[name] })
}

// All returns all definitions, as Named does, and an Entry without a name for each folder that cannot be read.
func (c *Catalogue) All() []Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.entries(func(f *cachedFolder) []File { return f.files })
	for _, f := range c.folders {
		if f.err != nil {
			all = append(all, Entry{File: File{Path: f.path}, Err: f.err})
		}
	}
	return all
}

// entries reads what is chosen of each folder.
func (c *Catalogue) entries(choose func(*cachedFolder) []File) []Entry {
	var entries []Entry
	hidden := make(map[string]bool)
	for _, folder := range c.folders {
		folder.refresh()
		for _, f := range appendVisible(nil, choose(folder), hidden) {
			d, err := folder.load(f.Path, c.uid)
			if errors.Is(err, fs.ErrNotExist) {
				delete(hidden, filepath.Base(f.Path)) // it went after the folder was listed
				continue
			}
			entries = append(entries, Entry{File: f, Definition: d, Err: err})
		}
	}
	return entries
}

// refresh lists the folder again if it changed.
func (f *cachedFolder) refresh() {
	now := time.Now()
	info, err := os.Stat(f.path)
	if err != nil {
		f.forget()
		if !errors.Is(err, fs.ErrNotExist) {
			f.err = keyline.SystemError(f.path, "look at the folder", err)
		}
		return
	}
	state := stampOf(info)
	if f.state != nil && *f.state == state {
		return
	}
	files, err := listFolder(f.path)
	if err != nil {
		f.forget()
		f.err = err
		return
	}
	old := f.read
	f.forget()
	f.files = files
	f.named = make(map[string][]File)
	f.read = make(map[string]cachedFile)
	for _, file := range files {
		f.named[file.Name] = append(f.named[file.Name], file)
		if known, ok := old[file.Path]; ok {
			f.read[file.Path] = known
		}
	}
	if state.isSettled(now) {
		f.state = &state
	}
}

func (f *cachedFolder) forget() {
	f.state, f.files, f.named, f.read, f.err = nil, nil, nil, nil, nil
}

// load reads a file if it changed since it was last read.
func (f *cachedFolder) load(path string, uid int) (Definition, error) {
	state, err := inspect(path, uid)
	if err != nil {
		delete(f.read, path)
		return Definition{}, err
	}
	if known, ok := f.read[path]; ok && known.state == state {
		return known.definition, known.err
	}
	now := time.Now()
	d, state, err := load(path, uid)
	if state.isSettled(now) {
		f.read[path] = cachedFile{state, d, err}
	} else {
		delete(f.read, path)
	}
	return d, err
}

// isSettled says whether a state seen at a moment can be told from every later one.
func (s stamp) isSettled(now time.Time) bool {
	return s != stamp{} && now.UnixNano()-s.changed >= int64(settled)
}
