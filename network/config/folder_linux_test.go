// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/switchboard-ipc/switchboard/network/config"
)

// A folder that the service's user may not even see is none of its folders; one that it sees and cannot look into is faulty.
func TestClosedFolder(t *testing.T) {
	outer := filepath.Join(t.TempDir(), "home")
	folder := filepath.Join(outer, "networks")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "shared.toml"), "mode = 'shared'\nmtu = 9000", 0o644)
	chmod := func(what string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(what, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(filepath.Dir(outer)), 0o755); err != nil {
		t.Fatal(err)
	}
	defer chmod(outer, 0o755)
	chmod(outer, 0)
	asOrdinaryUser(t, func() {
		if n, err := config.Find([]string{folder}, os.Getuid(), "shared"); err != nil || n.File != "" {
			t.Errorf("not to be seen: %+v, %v", n, err)
		}
		for _, e := range config.List([]string{folder}, os.Getuid()) {
			if e.Err != nil || e.File != "" {
				t.Errorf("not to be seen: %+v", e)
			}
		}
	})
	chmod(outer, 0o755)
	chmod(folder, 0)
	defer chmod(folder, 0o755)
	asOrdinaryUser(t, func() {
		if n, err := config.Find([]string{folder}, os.Getuid(), "shared"); !errors.Is(err, os.ErrPermission) {
			t.Errorf("to be seen: %+v, %v", n, err)
		}
		if all := config.List([]string{folder}, os.Getuid()); !errors.Is(all[0].Err, os.ErrPermission) {
			t.Errorf("to be seen: %+v", all)
		}
	})
}

// asOrdinaryUser runs f with no more rights to files than those of an ordinary user.
func asOrdinaryUser(t *testing.T, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and the thread ends with the goroutine
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0); errno != 0 {
			t.Error(errno)
			return
		}
		f()
	}()
	<-done
}
