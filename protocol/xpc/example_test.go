// SPDX-License-Identifier: Apache-2.0

package xpc_test

import (
	"fmt"

	"github.com/switchboard-ipc/switchboard/protocol/mach"
	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// A request of a service, and its reply, which brings a descriptor.
func Example() {
	var root xpc.Dict
	root.Set("acquire", xpc.String("shared"))
	packet, _, err := xpc.Message{Kind: xpc.KindMessage, Token: 7, Root: root}.Append(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}

	m, err := xpc.ParseMessage(packet, 0, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	network, err := m.Root.String("acquire")
	fmt.Println(network, err, m.WantsReply())

	var answer xpc.Dict
	answer.Set("interface", xpc.FD{Right: mach.Right{Fd: 1}}) // the first of the descriptors that are at hand
	packet, rights, err := m.Reply(answer).Append(nil, nil)
	fmt.Println(len(packet), rights[0].Fd, err)

	_, err = m.Root.Int("mtu")
	fmt.Println(err)
	// Output:
	// shared <nil> true
	// 76 1 <nil>
	// key "mtu": missing, want int64
}
