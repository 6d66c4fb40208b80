// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"fmt"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// Where a value comes from.
const (
	fromProtocol = "protocol-v1"
	fromSchema   = "schema-v1"
	fromDefault  = "default"
	fromRuntime  = "runtime"
)

// The budget of launches, unless a Setting says otherwise (section 8).
const (
	spawnAttempts = 3
	spawnWindowMS = 30000
)

type configBody struct {
	head
	Values groups `json:"values"`
}

// groups is the effective configuration: group, key, and the value with its source.
type groups map[string]map[string]sourced

type sourced struct {
	Value  any    `json:"value"`
	Source string `json:"source"`
}

func config(s Snapshot) configBody { return configBody{headOf("config", s), effective(s)} }

// effective is what CONFIG and DUMP tell: the schema's groups and keys, and what the snapshot has of others.
func effective(s Snapshot) groups {
	g := groups{
		"broker": {
			"broker_instance": {s.Instance, fromRuntime},
			"broker_pid":      {s.PID, fromRuntime},
			"accepting_hello": {s.Accepting, fromRuntime},
		},
		"protocol": {
			"admin_payload_protocol": {fmt.Sprintf("0x%04X", envelope.Admin), fromProtocol},
			"envelope_version":       {envelope.Version, fromProtocol},
			"framing_version":        {envelope.Version, fromProtocol},
		},
		"limits": {
			"max_frame_bytes":  {envelope.MaxBody, fromProtocol},
			"max_hello_bytes":  {envelope.MaxHello, fromProtocol},
			"connections_open": {s.ConnectionsOpen, fromRuntime},
		},
		"paths": {
			"service_definition_dir": {"", fromDefault},
		},
		"spawn_budget": {
			"default_attempts_per_window": {spawnAttempts, fromDefault},
			"default_window_ms":           {spawnWindowMS, fromDefault},
			"active_budget_rows":          {len(s.Budgets), fromRuntime},
		},
		"diagnostics": {
			"bundle_format": {bundleFormat, fromSchema},
			"bundle_mode":   {bundleMode, fromSchema},
			"redactions":    {redactions, fromSchema},
		},
	}
	for _, set := range s.Settings {
		if g[set.Group] == nil {
			g[set.Group] = map[string]sourced{}
		}
		g[set.Group][set.Key] = sourced{set.Value, set.Source}
	}
	return g
}
