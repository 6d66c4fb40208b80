// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"encoding/hex"
	"fmt"
	"strings"

	"lukechampine.com/blake3"
)

// Limits of addresses, in bytes (section 6.1).
const (
	MaxLinuxPath   = 107
	MaxMacPath     = 103
	MaxWindowsPath = 260
)

// Identity returns who a user is on Linux, with the id of the machine ("boot:"
// and that of the boot if there is none), and on macOS, with its platform UUID.
func Identity(uid uint32, machineID string) string {
	return fmt.Sprintf("%d:%s", uid, strings.TrimSpace(machineID))
}

// WindowsIdentity returns who a user is on Windows.
func WindowsIdentity(sid []byte) string { return "windows-sid:" + hex.EncodeToString(sid) }

// Hash16 returns the part of names that stands for an identity: 16 hex digits.
func Hash16(identity string) string { return short(identity) }

func short(s string) string {
	sum := blake3.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// ValidHash16 reports whether s can be what Hash16 returns.
func ValidHash16(s string) bool {
	return len(s) == 16 && strings.Trim(s, "0123456789abcdef") == ""
}

// HashError means that something is not what Hash16 returns.
type HashError struct{ Value string }

func (e *HashError) Error() string {
	return fmt.Sprintf("%s is not 16 lower-case hex digits", quote(e.Value))
}

func bareName(hash16, rest string) (string, error) {
	if !ValidHash16(hash16) {
		return "", &HashError{hash16}
	}
	return "rpb-v1-" + hash16 + "-" + rest, nil
}

// SharedName returns the bare name of a user's shared broker. Errors of this and
// the other names: *HashError, *NameError.
func SharedName(hash16 string) (string, error) { return bareName(hash16, "shared") }

// PrivateName returns the bare name of the broker of one service.
func PrivateName(hash16, service string) (string, error) {
	if err := CheckName(service); err != nil {
		return "", err
	}
	return bareName(hash16, "svc-"+service)
}

// ExplicitName returns the bare name of the broker that is called instance.
func ExplicitName(hash16, instance string) (string, error) {
	if err := CheckName(instance); err != nil {
		return "", err
	}
	return bareName(hash16, "inst-"+instance)
}

// BackendName returns the bare name of a backend.
func BackendName(hash16 string, random [16]byte) (string, error) {
	return bareName(hash16, "be-"+hex.EncodeToString(random[:]))
}

// PathError means that an address is too long for its system.
type PathError struct{ Length, Limit int } // bytes

func (e *PathError) Error() string {
	return fmt.Sprintf("path too long (%d > %d)", e.Length, e.Limit)
}

func checkPath(path string, limit int) (string, error) {
	if len(path) > limit {
		return "", &PathError{len(path), limit}
	}
	return path, nil
}

// LinuxPath returns the address that belongs to a bare name on Linux.
// runtimeDir is XDG_RUNTIME_DIR; if it is empty, a folder of /tmp is used. (The
// original uses a relative path if the variable is set, but empty.) The error
// is a *PathError.
func LinuxPath(runtimeDir string, uid uint32, bare string) (string, error) {
	return checkPath(LinuxFolder(runtimeDir, uid)+"/"+bare+".sock", MaxLinuxPath)
}

// LinuxFolder returns the folder that LinuxPath has its addresses in.
func LinuxFolder(runtimeDir string, uid uint32) string {
	if runtimeDir == "" {
		return fmt.Sprintf("/tmp/running-process-%d/broker", uid)
	}
	return join(runtimeDir, "running-process/broker")
}

// MacPath returns the address that belongs to a bare name on macOS. tmpDir is
// TMPDIR; if it is empty, /tmp is used. The error is a *PathError.
func MacPath(tmpDir string, uid uint32, bare string) (string, error) {
	if tmpDir == "" {
		tmpDir = "/tmp"
	}
	return checkPath(join(tmpDir, fmt.Sprintf(".rp-%d/%s", uid, MacLeaf(bare))), MaxMacPath)
}

// MacLeaf returns the file name in a MacPath.
func MacLeaf(bare string) string { return short(bare) + ".sock" }

// WindowsPath returns the address that belongs to a bare name on Windows, also if
// bare is one. The error is a *PathError.
func WindowsPath(bare string) (string, error) {
	const prefix = `\\.\pipe\`
	return checkPath(prefix+strings.TrimPrefix(bare, prefix), MaxWindowsPath)
}

func join(dir, rest string) string {
	if strings.HasSuffix(dir, "/") {
		return dir + rest
	}
	return dir + "/" + rest
}
