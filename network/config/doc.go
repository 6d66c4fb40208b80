// SPDX-License-Identifier: Apache-2.0

// Package config reads what administrators and users say about networks: one
// TOML file a network, named after it.
//
//	# /etc/switchboard/networks/lab.toml
//	mode = "shared"
//	subnet = "192.168.42.0"
//	mask = "255.255.255.0"
//	allow_gid = [1000]
//	removal_delay = "5m"
//
//	[[dhcp_reservations]]
//	mac_address = "52:54:00:00:00:01"
//	ip_address = "192.168.42.10"
//
// It is strict: an unknown key, a value of another type or one that cannot be is
// an [*Error] that names the file, the line and the reason. What one driver cannot
// do is said by that driver, with [Network.Errorf], which names the line as well.
//
// The networks "shared" and "host" exist without a file; a file of that name
// replaces them. [ImportJSON] and [ImportPlist] read the files of vmnet-broker.
package config
