// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// formerFile, in the folder of instances, names the sockets that earlier brokers accepted callers on, a line each: device, inode and name.
// The connections that those handed over are known to nobody, but the kernel lists them by that file. While there are any, a native
// backend that was found again is not idle.
const formerFile = "former"

// loadFormer reads which sockets earlier brokers had, and forgets those without connections.
func (b *Broker) loadFormer() {
	path := b.folder.at(filepath.Join(instanceFolder, formerFile))
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.log.Warn("cannot read which connections earlier brokers handed over", "err", err)
	}
	var all []sys.SocketFile
	for _, line := range strings.Split(string(text), "\n") {
		var f sys.SocketFile
		if n, _ := fmt.Sscanf(line, "%d %d %s", &f.Device, &f.Inode, &f.Base); n == 3 {
			all = append(all, f)
		}
	}
	if b.config.Listeners == nil {
		if f, err := sys.StatSocket(b.folder.at(brokerSocket)); err == nil { // of one that crashed
			all = append(all, f)
		}
	}
	use, err := sys.UseOf(all)
	for i, f := range all {
		if err != nil || use[i].Open > 0 {
			b.former = append(b.former, f)
		}
	}
	b.saveFormer(b.former)
}

// keepFormer has the next broker know of the connections that this one handed over.
func (b *Broker) keepFormer() {
	if !b.keep {
		return
	}
	all := slices.Clone(b.former)
	for _, file := range b.addresses {
		all = append(all, file)
	}
	if f, err := sys.StatSocket(b.folder.at(brokerSocket)); err == nil && b.config.Listeners == nil {
		all = append(all, f)
	}
	b.saveFormer(all)
}

// addFormer notes the address of a broker that crashed.
func (b *Broker) addFormer(path string) {
	if f, err := sys.StatSocket(path); err == nil {
		b.former = append(b.former, f)
		b.saveFormer(b.former)
	}
}

func (b *Broker) saveFormer(all []sys.SocketFile) {
	name := filepath.Join(instanceFolder, formerFile)
	if len(all) == 0 {
		b.folder.unlink(name)
		return
	}
	var text strings.Builder
	for _, f := range all {
		fmt.Fprintf(&text, "%d %d %s\n", f.Device, f.Inode, f.Base)
	}
	temporary := b.folder.at(name + ".new")
	err := os.WriteFile(temporary, []byte(text.String()), 0o600)
	if err == nil {
		err = os.Rename(temporary, b.folder.at(name))
	}
	if err != nil {
		b.log.Warn("cannot record which connections were handed over", "err", err)
	}
}

// formerConnections returns how many connections that earlier brokers handed over are open; at least 1 if they cannot be counted.
func (b *Broker) formerConnections() (open int) {
	if len(b.former) == 0 {
		return 0
	}
	use, err := sys.UseOf(b.former)
	if err != nil {
		return 1
	}
	for _, u := range use {
		open += u.Open
	}
	return open
}
