// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package launch

import "errors"

func executable(int) (string, uint64, uint64, error) { return "", 0, 0, errors.ErrUnsupported }
