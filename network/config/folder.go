// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/keyline"
	"github.com/switchboard-ipc/switchboard/internal/name"
)

const (
	// systemFolder has the networks of a machine's administrator.
	systemFolder = "/etc/switchboard/networks"
	// MaxSize is the size of the largest file, in bytes.
	MaxSize = 64 << 10
)

// Folders returns where networks are looked for, the first first: the given folder alone, or the user's
// ($XDG_CONFIG_HOME/switchboard/networks, by default in $HOME/.config) and the machine's.
func Folders(given string, getenv func(string) string) []string {
	if given != "" {
		return []string{filepath.Clean(given)}
	}
	var folders []string
	config := getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(config) { // also the base directory specification ignores a relative one
		config = ""
		if home := getenv("HOME"); filepath.IsAbs(home) {
			config = filepath.Join(home, ".config")
		}
	}
	if config != "" {
		folders = append(folders, filepath.Join(config, "switchboard", "networks"))
	}
	return append(folders, systemFolder)
}

// Entry is a network, or why the file that should describe it does not count.
type Entry struct {
	Name    string // of the network; "" for a folder that cannot be read
	File    string // "" for a built-in network
	Network *Network
	Err     error // an [*Error]; Network is nil then
}

// List returns the networks of the folders and the built-in ones, by name. A file hides those of the same name in
// later folders, and a built-in network. The files are read each time. See [Load] for uid.
func List(folders []string, uid int) []Entry {
	seen := make(map[string]bool)
	var all []Entry
	for _, folder := range folders {
		files, err := os.ReadDir(folder)
		if err != nil {
			if !absent(folder, err) {
				all = append(all, Entry{File: folder, Err: keyline.SystemError(folder, "read the folder", err)})
			}
			continue
		}
		for _, f := range files {
			called, ok := strings.CutSuffix(f.Name(), Suffix)
			if !ok || strings.HasPrefix(called, ".") || called == "" || seen[called] {
				continue
			}
			seen[called] = true
			e := Entry{Name: called, File: filepath.Join(folder, f.Name())}
			e.Network, e.Err = Load(e.File, uid)
			all = append(all, e)
		}
	}
	for _, n := range Builtin() {
		if !seen[n.Name] {
			all = append(all, Entry{Name: n.Name, Network: n})
		}
	}
	slices.SortStableFunc(all, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Find returns the network of a name: that of the first folder that has it, or the built-in one. The error is an
// [*Error] about the file, or [ErrNotFound].
func Find(folders []string, uid int, called string) (*Network, error) {
	if err := name.Check(called); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrNotFound, err)
	}
	for _, folder := range folders {
		n, err := Load(filepath.Join(folder, called+Suffix), uid)
		if !absent(folder, err) {
			return n, err
		}
	}
	for _, n := range Builtin() {
		if n.Name == called {
			return n, nil
		}
	}
	return nil, ErrNotFound
}

// absent reports whether an error about a folder or a file in it means that there is none. A folder that this process may not even see is none: $HOME
// still names that of the former user, say, when the user was changed.
func absent(folder string, err error) bool {
	if errors.Is(err, fs.ErrPermission) {
		_, err := os.Stat(folder)
		return errors.Is(err, fs.ErrPermission)
	}
	return errors.Is(err, fs.ErrNotExist)
}

// Load reads a network's file for a service that runs as the user uid. The file and its folder must belong to root or
// to that user and be writable by nobody else: it says who may do what.
func Load(path string, uid int) (*Network, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0) // a pipe must not be waited for
	if errors.Is(err, fs.ErrNotExist) {
		if _, there := os.Lstat(path); there == nil { // no reason to take another network of the name
			return nil, &Error{File: path, Reason: "it is a link to a file that does not exist"}
		}
	}
	if err != nil {
		return nil, keyline.SystemError(path, "open it", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, keyline.SystemError(path, "look at it", err)
	}
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return nil, keyline.SystemError(path, "look at its folder", err)
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, &Error{File: path, Reason: "it is not a regular file"}
	case info.Size() > MaxSize:
		return nil, &Error{File: path, Reason: fmt.Sprintf("it is larger than %d bytes, which no network's file is", MaxSize)}
	}
	if reason := distrust(info, uid, "it", path); reason != "" {
		return nil, &Error{File: path, Reason: reason}
	}
	if reason := distrust(folder, uid, "its folder", filepath.Dir(path)); reason != "" {
		return nil, &Error{File: path, Reason: reason}
	}
	data, err := io.ReadAll(io.LimitReader(file, MaxSize))
	if err != nil {
		return nil, keyline.SystemError(path, "read it", err)
	}
	return Parse(path, data)
}

// distrust says who else could write, or nothing.
func distrust(info fs.FileInfo, uid int, what, path string) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != uid {
		return fmt.Sprintf("%s belongs to user %d, and must belong to root or user %d, who may say what runs here: chown %s", what, st.Uid, uid, path)
	}
	if mode := info.Mode(); mode.Perm()&0o022 != 0 && (!mode.IsDir() || mode&fs.ModeSticky == 0) {
		return fmt.Sprintf("%s may be written by others than its owner (mode %04o): chmod go-w %s", what, mode.Perm(), path)
	}
	return ""
}
