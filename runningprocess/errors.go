// SPDX-License-Identifier: Apache-2.0

package runningprocess

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// RefusedError is a broker's refusal of a Hello (section 5).
type RefusedError struct {
	Code       envelope.ErrorCode
	Reason     string
	RetryAfter time.Duration // 0: trying again does not help
}

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("the broker refuses: %s (%s)", e.Reason, e.Code)
	if e.RetryAfter > 0 {
		text += fmt.Sprintf("; it may be tried again in %v", e.RetryAfter)
	}
	return text
}

// ErrDisabled means that RUNNING_PROCESS_DISABLE is 1: do without the broker.
var ErrDisabled = errors.New("runningprocess: RUNNING_PROCESS_DISABLE is 1: the broker is not to be used")

// DisabledByEnv reports whether RUNNING_PROCESS_DISABLE tells clients not to use the
// broker (section 13): "1" does, and any other value is an error.
func DisabledByEnv() (bool, error) { return envelope.Disabled(os.LookupEnv("RUNNING_PROCESS_DISABLE")) }
