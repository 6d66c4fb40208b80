// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package execshim

import "os"

func become() {
	os.Stderr.WriteString("switchboard-exec: launching is not supported on this system\n")
	os.Exit(126)
}
