// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/companion"
)

// buildLimit is how long the network service may take to be built: a first time on a slow machine.
const buildLimit = 3 * time.Minute

// buildNetworkService builds the network service's program beside ours if `go run` built ours, so that the tour shows networks from a fresh
// clone, too. Where that fails, the step says that it is skipped.
func (a *app) buildNetworkService(ctx context.Context, self string) {
	if folder := filepath.Dir(self); filepath.Base(folder) != "exe" || !strings.Contains(folder, string(filepath.Separator)+"go-build") {
		return
	}
	if _, err := companion.Find(companion.Network, self); err == nil {
		return
	}
	a.say("building %s for the step network: a minute, the first time", companion.Network)
	ctx, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(filepath.Dir(self), companion.Network),
		"github.com/switchboard-ipc/switchboard/cmd/"+companion.Network)
	if out, err := build.CombinedOutput(); err != nil {
		a.say("cannot build it: %v\n%s", err, out)
	}
}
