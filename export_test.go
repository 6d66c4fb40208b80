// SPDX-License-Identifier: Apache-2.0

package switchboard

import "time"

// SetPatience shortens waits that a test is about. Nobody may be using the Client.
func (c *Client) SetPatience(d time.Duration) { c.patience = d }

// SetSystemFolder names another folder of the system's broker. Nobody may be using the Client.
func (c *Client) SetSystemFolder(dir string) { c.system = dir }
