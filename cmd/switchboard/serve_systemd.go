// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/switchboard-ipc/switchboard/broker"
)

// activatedSockets takes over the sockets that systemd bound, by the names that its units give them; nil if there are
// none. There may be none for Mach messages, by units that are older than those: then the broker binds it.
func activatedSockets() (*broker.Listeners, error) {
	files := activation.Files(true)
	if len(files) == 0 {
		return nil, nil
	}
	var l broker.Listeners
	var names []string
	known := 0
	for _, f := range files {
		names = append(names, f.Name())
		var place **os.File
		switch f.Name() {
		case "broker.sock":
			place = &l.Broker
		case "session.sock":
			place = &l.Session
		case bootstrapSocket:
			place = &l.Bootstrap
		}
		if place != nil && *place == nil {
			*place = f
			known++
		}
	}
	if len(files) != known || l.Broker == nil || l.Session == nil {
		for _, f := range files {
			f.Close()
		}
		return nil, &codeError{exitConfig, fmt.Errorf("cannot use the sockets that were passed (%s): wanted are those with "+
			"FileDescriptorName=broker.sock and FileDescriptorName=session.sock, and one with FileDescriptorName=bootstrap.sock may be there", strings.Join(names, ", "))}
	}
	return &l, nil
}
