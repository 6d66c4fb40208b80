// SPDX-License-Identifier: Apache-2.0

package guesttest

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// ordinaryUser is who a guest runs as when the test is root: nobody, and their group.
const ordinaryUser = 65534

// Credential is who guests run as: nil (as the test does), or an ordinary user where the test is root.
func Credential() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	return &syscall.Credential{Uid: ordinaryUser, Gid: ordinaryUser, Groups: []uint32{}}
}

// Folder makes a folder that the guests' user owns and can get to, for sockets, home and
// programs; t.TempDir's are the test's user's alone. It goes with the test.
func Folder(t testing.TB) string {
	t.Helper()
	dir, err := makeFolder("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func makeFolder(in string) (string, error) {
	dir, err := os.MkdirTemp(in, "guest")
	if err != nil {
		return "", err
	}
	if user := Credential(); user != nil {
		if err := os.Chown(dir, int(user.Uid), int(user.Gid)); err != nil {
			os.RemoveAll(dir)
			return "", fmt.Errorf("cannot give a folder to the guests' user: %w", err)
		}
	}
	return dir, nil
}
