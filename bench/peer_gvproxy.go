// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/switchboard-ipc/switchboard/bench/internal/proc"
	"github.com/switchboard-ipc/switchboard/bench/rows"
)

// gvproxyPackage is gvisor-tap-vsock's own program for virtual machines' networks: a tool of this module, so its version is that of tools/go.mod.
const gvproxyPackage = "github.com/containers/gvisor-tap-vsock/cmd/gvproxy"

// gvproxy builds it once.
func (p *peers) gvproxy(ctx context.Context) (string, error) {
	out := filepath.Join(p.folder, "gvproxy")
	if _, err := os.Stat(out); err == nil {
		return out, nil
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-modfile=tools/go.mod", "-o", out, gvproxyPackage)
	if root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output(); err == nil {
		cmd.Dir = strings.TrimSpace(string(root))
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build gvproxy: %w: %s", err, strings.TrimSpace(string(text)))
	}
	return out, nil
}

// gvproxyNetwork is a gvproxy that runs; all of its options are its defaults, but for the port that it forwards on this machine.
type gvproxyNetwork struct {
	*proc.Process
	socket string
}

// startGvproxy starts one with sockets of its own in a folder, and does not wait until it can be used: connect does.
func startGvproxy(ctx context.Context, e *rows.Env, program, folder string) (*gvproxyNetwork, error) {
	g := &gvproxyNetwork{socket: filepath.Join(folder, "gv")}
	// It speaks on stderr; with a socket for QEMU, its other connections have QEMU's protocol, too, and there can be many of these.
	p, err := e.Start(ctx, errorsToOutput(program, "-listen", "unix://"+g.socket, "-listen-qemu", "unix://"+g.socket+"q", "-ssh-port", "-1"),
		proc.Options{EndsByTERM: true, Session: true})
	g.Process = p
	return g, err
}

// errorsToOutput is a command whose stderr is its stdout, where package proc looks for a first line.
func errorsToOutput(argv ...string) []string {
	return append([]string{"sh", "-c", `exec "$@" 2>&1`, "sh"}, argv...)
}

// connect attaches a guest, as soon as it can be.
func (g *gvproxyNetwork) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		c, err := net.Dial("unix", g.socket)
		if err == nil {
			if _, err = io.WriteString(c, "POST /connect HTTP/1.1\r\nHost: gvproxy\r\n\r\n"); err == nil {
				return c, nil // it answers nothing
			}
			c.Close()
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("cannot reach gvproxy: %w", err)
		}
		time.Sleep(time.Millisecond)
	}
}
