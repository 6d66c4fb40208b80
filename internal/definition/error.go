// SPDX-License-Identifier: Apache-2.0

package definition

import "github.com/switchboard-ipc/switchboard/internal/keyline"

// Error says what is wrong with a definition, where, and what to do about it.
type Error = keyline.Error
