// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// RunningError says that another broker serves the folder. It is "try again later" (exit code 75).
type RunningError struct {
	Folder string
	PID    int // 0 if it has not bound its sockets yet
}

func (e *RunningError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("another broker is starting or ending in %s: try again", e.Folder)
	}
	return fmt.Sprintf("a broker already runs in %s: process %d (end it with: switchboard shutdown)", e.Folder, e.PID)
}

// FolderError says why a runtime folder is refused. It is "not allowed" (exit code 77).
type FolderError struct{ Folder, Why string }

func (e *FolderError) Error() string {
	return fmt.Sprintf("runtime folder %s is refused: %s", e.Folder, e.Why)
}

const (
	sessionSocket = "session.sock"
	brokerSocket  = "broker.sock"
	serviceFolder = "s"

	bootstrapSocket = "bootstrap.sock"
)

// folder is the runtime folder, locked: one broker at a time.
type folder struct {
	path string
	fd   *sys.FD // holds the lock
	id   sys.FolderID

	stale bool // sockets of a broker that crashed were in it
}

// openFolder makes the folder if it is missing, checks that it is ours alone, and locks it.
func openFolder(path string) (*folder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// A folder that was removed between the open and the lock is no lock at all: look again.
	for range 100 {
		f, err := lockFolder(path)
		if err != nil || f != nil {
			return f, err
		}
	}
	return nil, &FolderError{path, "it is being replaced again and again"}
}

func lockFolder(path string) (*folder, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, &FolderError{path, "cannot make it: " + err.Error()}
	}
	fd, err := sys.OpenFolder(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
			return nil, &FolderError{path, "it is not a folder (a link does not count)"}
		}
		return nil, &FolderError{path, err.Error()}
	}
	st, err := sys.StatFolder(fd.Int())
	if err == nil {
		err = checkFolder(path, st)
	}
	if err == nil {
		err = sys.Lock(fd.Int(), false)
	}
	if err != nil {
		fd.Close()
		if err == syscall.EWOULDBLOCK {
			return nil, &RunningError{path, runningPID(path)}
		}
		return nil, err
	}
	f := &folder{path: path, fd: fd, id: st.ID}
	if !f.current() {
		fd.Close()
		return nil, nil
	}
	return f, nil
}

// checkFolder says why a folder cannot be trusted, or nil.
func checkFolder(path string, st sys.FolderStat) error {
	switch {
	case st.UID != os.Geteuid():
		return &FolderError{path, fmt.Sprintf("it belongs to user %d and not to %d: name another with --runtime-dir", st.UID, os.Geteuid())}
	case st.Mode&0o7777 != 0o700:
		advice := "choose a folder that is for the broker alone"
		if strings.HasPrefix(filepath.Base(path), "switchboard") {
			advice = "chmod 700 " + path
		}
		return &FolderError{path, fmt.Sprintf("its mode is %04o and must be 0700, so that no other user gets in: %s", st.Mode, advice)}
	}
	return nil
}

// runningPID asks the kernel who listens in a folder; 0 if nobody does yet.
func runningPID(path string) int {
	c, err := sys.Connect(filepath.Join(path, brokerSocket), sys.Stream, false)
	if err != nil {
		return 0
	}
	defer c.Close()
	cred, err := sys.PeerCred(c.Int())
	if err != nil {
		return 0
	}
	return cred.PID
}

// current reports whether the folder's path still leads to it.
func (f *folder) current() bool {
	st, err := sys.LstatFolder(f.path)
	return err == nil && st.ID == f.id
}

// at is a path to something in this very folder, whatever its own path leads to now. An absolute path is what it is.
func (f *folder) at(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return "/proc/self/fd/" + strconv.Itoa(f.fd.Int()) + "/" + name
}

// listen binds a socket in the folder. A stale socket there is replaced: the lock says that no broker
// runs, but a socket that answers is somebody's all the same, and is left alone.
func (f *folder) listen(name string, t sys.SocketType) (*sys.FD, error) {
	path := filepath.Join(f.path, name)
	fd, err := sys.Listen(path, t, backlog)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return fd, err
	}
	c, err := sys.Connect(path, t, false)
	if err == nil {
		cred, _ := sys.PeerCred(c.Int())
		c.Close()
		return nil, &RunningError{f.path, cred.PID}
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("cannot replace %s: %w", path, err)
	}
	f.stale = true
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return sys.Listen(path, t, backlog)
}

// cleanServices makes the folder of the services' sockets, and removes those that nobody listens on.
func (f *folder) cleanServices() error {
	dir := filepath.Join(f.path, serviceFolder)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.Type()&fs.ModeSymlink != 0 { // the name of a service whose newest version has its socket elsewhere
			os.Remove(path)
		}
		if e.Type()&fs.ModeSocket == 0 {
			continue
		}
		// Asked of the kernel: a connection would be a caller who says nothing.
		if listening, err := sys.ListeningAt(path); err == nil && !listening {
			os.Remove(path)
		}
	}
	return nil
}

// unlink removes sockets of this folder, not of one that took its place.
func (f *folder) unlink(names ...string) {
	for _, n := range names {
		if n != "" {
			os.Remove(f.at(n))
		}
	}
}

func (f *folder) close() { f.fd.Close() }
