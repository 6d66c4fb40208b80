// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/keyline"
)

const (
	// MaxSize is the size of the largest definition file, in bytes.
	MaxSize = 64 << 10
	// maxLinks is how many symbolic links one after the other are followed.
	maxLinks = 40
)

// stamp changes whenever a file does.
type stamp struct {
	device, inode     uint64
	size              int64
	modified, changed int64 // nanoseconds since 1970
}

func stampOf(info fs.FileInfo) stamp {
	_, device, inode, changed := system(info)
	return stamp{device, inode, info.Size(), info.ModTime().UnixNano(), changed}
}

// Load reads a definition file for a broker that runs as the user uid. The file,
// its folder, and, if it is a symbolic link, what it leads to and the folders on
// the way there, must belong to root or to that user and be writable by nobody
// else. The error is an [*Error]; what is wrong with an owner, a mode or the size
// is in no line.
func Load(path string, uid int) (Definition, error) {
	d, _, err := load(path, uid)
	return d, err
}

// load is Load, and returns the state of the file that was read.
func load(path string, uid int) (Definition, stamp, error) {
	if _, err := inspect(path, uid); err != nil {
		return Definition{}, stamp{}, err
	}
	// Without O_NONBLOCK, a pipe that took the file's place meanwhile would be waited for.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return Definition{}, stamp{}, keyline.SystemError(path, "open it", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return Definition{}, stamp{}, keyline.SystemError(path, "look at it", err)
	}
	if reason := inspectFile(info, uid); reason != "" {
		return Definition{}, stamp{}, &Error{File: path, Reason: reason}
	}
	data, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		return Definition{}, stamp{}, keyline.SystemError(path, "read it", err)
	}
	if len(data) > MaxSize {
		return Definition{}, stamp{}, &Error{File: path, Reason: tooLarge}
	}
	d, err := Parse(path, data)
	return d, stampOf(info), err
}

var tooLarge = fmt.Sprintf("it is larger than %d bytes, which no definition is: make it smaller", MaxSize)

// inspect applies the rules for a file, its folder and the links on the way, without opening it.
func inspect(path string, uid int) (stamp, error) {
	at := path
	for range maxLinks {
		if reason, err := inspectFolder(filepath.Dir(at), uid); err != nil {
			return stamp{}, keyline.SystemError(path, "look at its folder", err)
		} else if reason != "" {
			return stamp{}, &Error{File: path, Reason: reason}
		}
		info, err := os.Lstat(at)
		if err != nil {
			if at != path && errors.Is(err, fs.ErrNotExist) {
				return stamp{}, &Error{File: path, Reason: fmt.Sprintf("it is a link to %q, where nothing is: change or remove it", at)}
			}
			return stamp{}, keyline.SystemError(path, "look at it", err)
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			if reason := inspectFile(info, uid); reason != "" {
				return stamp{}, &Error{File: path, Reason: reason}
			}
			return stampOf(info), nil
		}
		to, err := os.Readlink(at)
		if err != nil {
			return stamp{}, keyline.SystemError(path, "read the link", err)
		}
		if !filepath.IsAbs(to) {
			to = filepath.Dir(at) + "/" + to // not cleaned: ".." after a link is for the system to follow
		}
		at = to
	}
	return stamp{}, &Error{File: path, Reason: "it is a link to a link, and so on without an end: change or remove it"}
}

// inspectFolder says what is wrong with a folder of definitions, or nothing.
func inspectFolder(folder string, uid int) (string, error) {
	info, err := os.Stat(folder)
	if err != nil {
		return "", err
	}
	return inspectOwner(info, uid, fmt.Sprintf("its folder, %s,", folder), folder), nil
}

// inspectFile says what is wrong with a file before a byte of it is read, or nothing.
func inspectFile(info fs.FileInfo, uid int) string {
	switch {
	case !info.Mode().IsRegular():
		return "it is not a regular file: put the definition itself here, or a link to it"
	case info.Size() > MaxSize:
		return tooLarge
	}
	return inspectOwner(info, uid, "it", "it")
}

// inspectOwner says who else could write, or nothing.
func inspectOwner(info fs.FileInfo, uid int, what, which string) string {
	owner, _, _, _ := system(info)
	trusted := "root"
	if uid != 0 {
		trusted = fmt.Sprintf("root or user %d", uid)
	}
	if owner != 0 && owner != uid {
		return fmt.Sprintf("%s belongs to user %d, and must belong to %s, who may say what runs here: chown %s", what, owner, trusted, which)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Sprintf("%s may be written by others than its owner (mode %04o): chmod go-w %s", what, mode, which)
	}
	return ""
}
