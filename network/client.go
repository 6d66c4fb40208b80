// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/switchboard-ipc/switchboard/internal/project"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/network/config"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
)

// Client is the process that sent a message, as the kernel names it.
type Client struct {
	PID, UID, GID int // PID 0: of another pid namespace

	pidfd int // good while the message is served; -1: none
	once  sync.Once
	gids  []uint32
}

// may reports whether the file of a network lets the client have it.
func (c *Client) may(n *config.Network) bool {
	if n.Allows(uint32(c.UID), []uint32{uint32(c.GID)}) {
		return true
	}
	return len(n.AllowGID) > 0 && n.Allows(uint32(c.UID), c.groups())
}

// groups returns the client's supplementary groups, or none if it cannot be seen.
func (c *Client) groups() []uint32 {
	c.once.Do(func() {
		if c.PID <= 0 || c.pidfd < 0 {
			return
		}
		status, err := sys.ProcStatus(strconv.Itoa(c.PID))
		if err != nil || sys.Exited(c.pidfd) { // then it may have been another process'
			return
		}
		for _, field := range strings.Fields(status["Groups"]) {
			if gid, err := strconv.ParseUint(field, 10, 32); err == nil {
				c.gids = append(c.gids, uint32(gid))
			}
		}
	})
	return c.gids
}

// identity returns what a client without an id of its own is known by: its program, and the folder of the project that it runs in.
func (c *Client) identity() string {
	program, folder := "", ""
	if c.PID > 0 && c.pidfd >= 0 {
		program, _ = sys.Executable(c.PID, c.pidfd)
		folder, _ = os.Readlink("/proc/" + strconv.Itoa(c.PID) + "/cwd")
		if sys.Exited(c.pidfd) {
			folder = ""
		}
	}
	if program == "" {
		return "user " + strconv.Itoa(c.UID)
	}
	if folder != "" {
		folder = " " + project.Folder(folder, nil)
	}
	id := filepath.Base(program) + folder
	return strings.ToValidUTF8(id[:min(len(id), vmnet.MaxID)], "")
}

func (c *Client) String() string { return fmt.Sprintf("process %d of user %d", c.PID, c.UID) }

func notAllowed(who *Client) error {
	return vmnet.Refuse(vmnet.NotAllowed, "allow_uid and allow_gid of its file do not have %v", who)
}
