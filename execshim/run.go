// SPDX-License-Identifier: Apache-2.0

package execshim

import (
	"os"
	"sync/atomic"

	"github.com/switchboard-ipc/switchboard/internal/launch/order"
)

// hooked is a fact about the program, not state of the package: its main calls Run.
var hooked atomic.Bool

// Run does the shim's work and never returns, if this process was started as one by a broker. Otherwise it does nothing. Call it at
// the top of main, before flags are parsed and goroutines started.
func Run() {
	hooked.Store(true)
	if len(os.Args) > 0 && os.Args[0] == order.ShimName && os.Getenv(order.ShimMark) == order.ShimValue {
		become()
	}
}

// Hooked reports whether Run was called in this process.
func Hooked() bool { return hooked.Load() }
