// SPDX-License-Identifier: Apache-2.0

package admin

type statusBody struct {
	head
	Instance        string      `json:"broker_instance"`
	PID             uint32      `json:"broker_pid"`
	Uptime          float       `json:"uptime_seconds"`
	Accepting       bool        `json:"accepting_hello"`
	ConnectionsOpen uint64      `json:"connections_open"`
	FDPressure      fdPressure  `json:"fd_pressure"`
	InodePressure   any         `json:"inode_pressure"` // inodeUsage or noInodes
	Backends        []statusRow `json:"backends"`
}

type fdPressure struct {
	Demoted bool `json:"demoted"`
}

type inodeUsage struct {
	Supported bool   `json:"supported"` // true
	Total     uint64 `json:"inodes_total"`
	Free      uint64 `json:"inodes_free"`
	Used      uint64 `json:"inodes_used"`
	Ratio     float  `json:"used_ratio"`
}

type noInodes struct {
	Supported bool   `json:"supported"` // false
	Detail    string `json:"detail"`
}

type statusRow struct {
	Service    string `json:"service_name"`
	Version    string `json:"service_version"`
	PID        uint32 `json:"pid"`
	Pipe       string `json:"backend_pipe"`
	LastActive uint64 `json:"last_active_unix_ms"`
	State      State  `json:"state"`
}

func status(s Snapshot) statusBody {
	rows := make([]statusRow, len(s.Backends))
	for i, b := range s.Backends {
		rows[i] = statusRow{b.Service, b.Version, b.PID, b.Pipe, b.LastActiveUnixMS, b.State}
	}
	return statusBody{
		head: headOf("status", s), Instance: s.Instance, PID: s.PID, Uptime: float(s.Uptime.Seconds()),
		Accepting: s.Accepting, ConnectionsOpen: s.ConnectionsOpen, FDPressure: fdPressure{s.Demoted},
		InodePressure: inodePressure(s.Inodes), Backends: rows,
	}
}

func inodePressure(i Inodes) any {
	if !i.Supported {
		return noInodes{Detail: or(i.Detail, "inode accounting not applicable on this filesystem")}
	}
	used := i.Total - min(i.Free, i.Total)
	return inodeUsage{true, i.Total, i.Free, used, float(share(used, i.Total))}
}

type instancesBody struct {
	head
	Instances []instanceRow `json:"instances"`
}

type instanceRow struct {
	Instance string `json:"broker_instance"`
	Pipe     string `json:"pipe"`
	PID      uint32 `json:"pid"`
	State    string `json:"state"` // "running", "not-serving"
}

func listInstances(s Snapshot) instancesBody {
	all := s.Instances
	if len(all) == 0 {
		all = []Instance{{s.Instance, s.Pipe, s.Accepting}}
	}
	rows := make([]instanceRow, len(all))
	for i, one := range all {
		rows[i] = instanceRow{one.Name, one.Pipe, s.PID, "not-serving"}
		if one.Accepting {
			rows[i].State = "running"
		}
	}
	return instancesBody{headOf("list-instances", s), rows}
}

type healthBody struct {
	head
	Service  string      `json:"service_name"`
	Backends []healthRow `json:"backends"`
}

type healthRow struct {
	Version   string  `json:"service_version"`
	PID       uint32  `json:"pid"`
	State     State   `json:"state"`
	LastHello uint64  `json:"last_hello_unix_ms"`
	LastError *string `json:"last_error"`
}

func backendHealth(s Snapshot, service string) healthBody {
	rows := []healthRow{}
	for _, b := range s.Backends {
		if b.Service == service {
			rows = append(rows, healthRow{b.Version, b.PID, b.State, b.LastHelloUnixMS, optional(b.LastError)})
		}
	}
	return healthBody{headOf("backend-health", s), service, rows}
}
