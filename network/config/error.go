// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"

	"github.com/switchboard-ipc/switchboard/internal/keyline"
)

// ErrNotFound is returned for the name of a network that no file has and that is not built in.
var ErrNotFound = errors.New("there is no network of this name")

// Error says what is wrong with a network's file, where, and what to do about it.
type Error = keyline.Error

// fault is what is wrong with one key.
type fault struct {
	key    string // "mtu", "allow_uid[2]", "port_forwarding_rules[0].protocol"; "": the whole
	reason string
}

func faultf(key, format string, args ...any) *fault {
	return &fault{key: key, reason: fmt.Sprintf(format, args...)}
}
