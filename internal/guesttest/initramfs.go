// SPDX-License-Identifier: Apache-2.0

package guesttest

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"
)

//go:embed init.sh
var initScript []byte

//go:embed lease.sh
var leaseScript []byte

// initramfs makes a guest's whole file system; it is 2.5 MB that the kernel takes unpacked, so making it costs milliseconds.
func (m *image) initramfs(static string, commands []string) ([]byte, error) {
	busybox, err := os.ReadFile(filepath.Join(m.folder, busyboxFile))
	if err != nil {
		return nil, err
	}
	order, err := os.ReadFile(filepath.Join(m.folder, modulesFolder, orderFile))
	if err != nil {
		return nil, err
	}
	var a archive
	for _, name := range []string{"bin", "dev", "etc", "modules", "proc", "root", "run", "sys", "tmp"} {
		a.folder(name)
	}
	// The kernel opens it for the first process, before there is a devtmpfs.
	a.character("dev/console", 5, 1)
	a.program("bin/busybox", busybox)
	a.program("init", initScript)
	a.program("lease", leaseScript)
	a.file("static", []byte(static))
	a.file("commands", []byte(strings.Join(append(commands, ""), "\n")))
	a.file("modules/order", order)
	for name := range strings.FieldsSeq(string(order)) {
		data, err := os.ReadFile(filepath.Join(m.folder, modulesFolder, name+".ko"))
		if err != nil {
			return nil, err
		}
		a.file("modules/"+name+".ko", data)
	}
	return a.bytes(), nil
}
