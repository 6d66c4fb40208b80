// SPDX-License-Identifier: Apache-2.0

package servedef

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// InsecureError is a folder of definitions that more than its owner may look into, or that is another's.
type InsecureError struct {
	Folder string
	Reason string // for people, one line: what is wrong, and what to do about it
}

// Error returns the text of section 11.
func (e *InsecureError) Error() string {
	return "service-definition directory has insecure permissions: " + e.Folder
}

// FileError is a definition file that is not one to be read: another's, or none.
type FileError struct {
	Path   string
	Reason string // for people, one line
}

// Error returns "service-definition file PATH is refused: reason".
func (e *FileError) Error() string {
	return "service-definition file " + e.Path + " is refused: " + e.Reason
}

// systemError is what a call on a file returned, with the original's words before it.
func systemError(err error) error { return fmt.Errorf("service-definition I/O failed: %w", err) }

// checkFolder wants a real folder that only root or the user can look into.
func checkFolder(folder string, uid int) error {
	if folder == "" {
		return systemError(&fs.PathError{Op: "open", Path: "the folder of definitions", Err: fs.ErrNotExist})
	}
	info, err := os.Lstat(folder)
	if err != nil {
		return systemError(err)
	}
	mode := info.Mode()
	reason := ""
	switch {
	case !mode.IsDir():
		reason = "it is not a folder itself: put the folder here, not a link or a file"
	case mode.Perm()&0o077 != 0:
		reason = fmt.Sprintf("its mode is %04o: chmod 700 %s", mode.Perm(), folder)
	default:
		reason = checkOwner(info, uid)
	}
	if reason != "" {
		return &InsecureError{folder, reason}
	}
	return nil
}

// checkFile says what is wrong with an open file before a byte of it is read, or nothing.
func checkFile(info fs.FileInfo, uid int) string {
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return "it is not a regular file"
	case info.Size() > MaxSize:
		return tooLarge
	case mode.Perm()&0o022 != 0:
		return fmt.Sprintf("it may be written by others than its owner (mode %04o): chmod go-w it", mode.Perm())
	}
	return checkOwner(info, uid)
}

// checkOwner says to whom something belongs that should be root's or the user's, or nothing.
func checkOwner(info fs.FileInfo, uid int) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return "whose it is cannot be told"
	case st.Uid == 0 || int(st.Uid) == uid:
		return ""
	case uid == 0:
		return fmt.Sprintf("it belongs to user %d, and must belong to root", st.Uid)
	}
	return fmt.Sprintf("it belongs to user %d, and must belong to root or user %d", st.Uid, uid)
}
