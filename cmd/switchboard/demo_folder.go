// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// tourFolder is what the names of the folders of tours begin with.
const tourFolder = "switchboard-demo-"

// makeTourFolder makes a temporary folder and locks it, so that others leave it alone until the lock is closed.
func makeTourFolder() (string, *os.File, error) {
	for {
		dir, err := os.MkdirTemp("", tourFolder)
		if err != nil {
			return "", nil, err
		}
		lock, err := lockFolder(dir)
		if err == nil {
			return dir, lock, nil
		}
		// Between the two, another tour may have taken it for that of a dead one.
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.EWOULDBLOCK) {
			return "", nil, errors.Join(err, os.Remove(dir))
		}
	}
}

// sweepTours removes what is left of this user's tours that were killed. What cannot be removed now is left to the next.
func sweepTours() {
	found, _ := filepath.Glob(filepath.Join(os.TempDir(), tourFolder+"*")) // an error would be of the pattern
	for _, dir := range found {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
			continue
		}
		if lock, err := lockFolder(dir); err == nil {
			_ = os.RemoveAll(dir)
			lock.Close()
		}
	}
}

// lockFolder locks a folder without waiting: EWOULDBLOCK says that somebody else has it, os.ErrNotExist that it is gone.
func lockFolder(dir string) (*os.File, error) {
	lock, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		_, err = os.Lstat(dir) // whoever had the lock may have removed it
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}
