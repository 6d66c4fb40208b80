// SPDX-License-Identifier: Apache-2.0

// Package network is the network service: it checks in a port at the bootstrap server and gives virtual machines interfaces on networks
// that they ask for by name, by the protocol of vmnet-broker. docs/networks.md is the page for users.
//
//	s, err := network.New(network.Config{})
//	err = s.Serve(ctx)
//
// A client's connection is its lease: when the connection ends, or the process that made it, its guests are detached. A network is made
// when somebody asks for it, as its file says at that moment, and is removed when nobody has held it for a while. Package config reads
// the files, a [Driver] makes networks, package usernet is the one there is so far.
//
// The ledger decides who holds what, and knows no clock; networks carries out what it says; connection reads and answers.
package network
