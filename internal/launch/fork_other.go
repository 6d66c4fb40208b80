// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package launch

import (
	"errors"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

func fork(string, []string, []string, []uintptr, int) (int, *sys.FD, error) {
	return 0, nil, errors.ErrUnsupported
}
