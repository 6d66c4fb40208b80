// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/switchboard-ipc/switchboard/broker"
)

// activatedSockets takes over the sockets that systemd bound, by the names that its units give them; nil if there are
// none. The broker wants both or none.
func activatedSockets() (*broker.Listeners, error) {
	files := activation.Files(true)
	if len(files) == 0 {
		return nil, nil
	}
	var l broker.Listeners
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
		switch f.Name() {
		case "broker.sock":
			l.Broker = f
		case "session.sock":
			l.Session = f
		}
	}
	if len(files) != 2 || l.Broker == nil || l.Session == nil {
		for _, f := range files {
			f.Close()
		}
		return nil, &codeError{exitConfig, fmt.Errorf("cannot use the sockets that were passed (%s): two are wanted, with "+
			"FileDescriptorName=broker.sock and FileDescriptorName=session.sock", strings.Join(names, ", "))}
	}
	return &l, nil
}
