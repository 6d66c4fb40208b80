// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"os/exec"

	"github.com/switchboard-ipc/switchboard/internal/name"
	"github.com/switchboard-ipc/switchboard/protocol/dial"
)

// Declaration is a command that a name is launched with.
type Declaration struct{ declared *declared }

// Declare has a command launched by whoever calls the name first, or looks up one of its ports first ([LaunchPorts]), until the Declaration
// is closed. As with [Launch], there is one process, which belongs to the broker and outlives this program; several programs may declare
// the same command. A broker that takes the place of this one is told again. ctx is about this call only. In a namespace, ports cannot be
// declared.
func (c *Client) Declare(ctx context.Context, service string, cmd *exec.Cmd, opts ...LaunchOption) (*Declaration, error) {
	if err := name.Check(service); err != nil {
		return nil, &Error{Code: CodeUsage, Op: "declare", Name: service, Text: err.Error(), Err: err}
	}
	l := &launch{cmd: cmd}
	for _, opt := range opts {
		opt.applyLaunch(l)
	}
	d, err := c.declare(ctx, l, &dial.Request{Name: service})
	if err != nil {
		return nil, during("declare", service, err)
	}
	return &Declaration{d}, nil
}

// Close gives the declaration back. It does not end what was launched.
func (d *Declaration) Close() error {
	d.declared.release()
	return nil
}
