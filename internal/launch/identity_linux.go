// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"os"
	"strconv"
	"syscall"
)

// executable returns the file that a process executes. An upgraded file's path ends in " (deleted)"; device and inode stay.
func executable(pid int) (path string, device, inode uint64, err error) {
	link := "/proc/" + strconv.Itoa(pid) + "/exe"
	if path, err = os.Readlink(link); err != nil {
		return "", 0, 0, err
	}
	var st syscall.Stat_t
	if err := syscall.Stat(link, &st); err != nil {
		return "", 0, 0, &os.PathError{Op: "stat", Path: link, Err: err}
	}
	return path, uint64(st.Dev), st.Ino, nil
}
