// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/switchboard-ipc/switchboard/internal/host"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// Environment variables that this package reads, or package mach.
const (
	// EnvRuntimeDir is the runtime folder.
	EnvRuntimeDir = "SWITCHBOARD_RUNTIME_DIR"
	// EnvSessionFD is the number of an inherited descriptor that leads to the broker (docs/session.md, section 6). A
	// Client without a RuntimeDir of its own uses it instead of the folder.
	EnvSessionFD = "SWITCHBOARD_SESSION_FD"
	// EnvBootstrapFD is the number of an inherited descriptor that leads to the broker by Mach messages.
	EnvBootstrapFD = "SWITCHBOARD_BOOTSTRAP_FD"
	// EnvBootstrap is the path of the socket for Mach messages.
	EnvBootstrap = "SWITCHBOARD_BOOTSTRAP"
	// EnvAutostart set to 0 means that no broker is started.
	EnvAutostart = "SWITCHBOARD_AUTOSTART"
	// EnvBinary is the program to start a broker with.
	EnvBinary = "SWITCHBOARD"
	// EnvInstance is the launch that made this process, where the broker did: the session tells it.
	EnvInstance = "SWITCHBOARD_INSTANCE"
)

// RuntimeDir returns the folder of this user's broker: $SWITCHBOARD_RUNTIME_DIR, else $XDG_RUNTIME_DIR/switchboard,
// else /run/user/UID/switchboard if /run/user/UID is ours, else /run/switchboard for root, else /tmp/switchboard-UID. It need not exist.
func RuntimeDir() string {
	if dir := os.Getenv(EnvRuntimeDir); dir != "" {
		return absolute(dir)
	}
	if dir := host.RuntimeDir(); dir != "" {
		return filepath.Join(dir, "switchboard")
	}
	uid := os.Geteuid()
	user := filepath.Join("/run/user", strconv.Itoa(uid))
	if st, err := sys.LstatFolder(user); err == nil && st.IsDir && st.UID == uid {
		return filepath.Join(user, "switchboard")
	}
	if uid == 0 {
		return "/run/switchboard"
	}
	return "/tmp/switchboard-" + strconv.Itoa(uid)
}

// absolute makes a path good for a process with another working folder.
func absolute(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

// checkFolder says why a runtime folder can't be trusted: somebody else's would lead to somebody else's broker. One that does
// not exist is os.ErrNotExist. Root may use a folder that it was told, whosever it is.
func checkFolder(dir string, told bool) error {
	st, err := sys.LstatFolder(dir)
	uid := os.Geteuid()
	var fault string
	switch {
	case errors.Is(err, os.ErrPermission):
		fault = "you may not look at it"
	case err != nil:
		return err
	case !st.IsDir:
		fault = "it is not a folder (a symbolic link is none either)"
	case st.UID != uid && !(uid == 0 && told):
		fault = fmt.Sprintf("it belongs to user %d, and you are user %d", st.UID, uid)
	case st.Mode != 0o700:
		fault = fmt.Sprintf("its mode is %04o and must be 0700", st.Mode)
		if strings.HasPrefix(filepath.Base(dir), "switchboard") { // what else uses another folder may need its mode
			fault += ": chmod 700 " + dir
		}
	default:
		return nil
	}
	return &Error{Code: CodeNotAllowed, Op: "use the runtime folder", Name: dir,
		Text: fault + "; choose another with --runtime-dir or " + EnvRuntimeDir}
}

// makeFolder makes a runtime folder and what is missing above it, for this user alone.
func makeFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		code := CodeUnavailable
		if errors.Is(err, os.ErrPermission) {
			code = CodeNotAllowed
		}
		return &Error{Code: code, Op: "make the runtime folder", Name: dir,
			Text: fmt.Sprintf("%v; choose another with --runtime-dir or %s", err, EnvRuntimeDir), Err: err}
	}
	return checkFolder(dir, false)
}
