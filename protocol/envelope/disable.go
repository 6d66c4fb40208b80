// SPDX-License-Identifier: Apache-2.0

package envelope

import "fmt"

// Disabled reports whether the variable RUNNING_PROCESS_DISABLE tells clients
// not to use the broker: "1" does, not being set does not, and any other value
// is an error (section 13).
func Disabled(value string, set bool) (bool, error) {
	if set && value != "1" {
		return false, fmt.Errorf("RUNNING_PROCESS_DISABLE is %s: only 1 is a value", quote(value))
	}
	return set, nil
}
