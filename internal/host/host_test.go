// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"os"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/host"
)

func TestFolder(t *testing.T) {
	t.Parallel()
	f := host.Folder{Override: "OVER", XDG: "XDG_DATA_HOME", Home: ".local/share", Leaf: "manifests"}
	for _, test := range []struct{ goos, home, env, want string }{
		{"linux", "/home/me", "", "/home/me/.local/share/running-process/manifests"},
		{"linux", "/home/me", "XDG_DATA_HOME=/data", "/data/running-process/manifests"},
		{"linux", "/home/me", "XDG_DATA_HOME=data", "/home/me/.local/share/running-process/manifests"},
		{"linux", "", "XDG_DATA_HOME=/data", "/data/running-process/manifests"},
		{"linux", "", "", ""},
		{"linux", "/home/me", "OVER=/elsewhere", "/elsewhere"},
		{"darwin", "/Users/me", "XDG_DATA_HOME=/data", "/Users/me/Library/Application Support/running-process/manifests"},
		{"darwin", "", "", ""},
		{"windows", `C:\Users\me\`, "", `C:\Users\me\AppData\Roaming\running-process\manifests`},
		{"windows", "", `APPDATA=D:\data\`, `D:\data\running-process\manifests`},
		{"windows", "", "", ""},
	} {
		getenv := func(name string) string {
			value, _ := strings.CutPrefix(test.env, name+"=")
			if value == test.env {
				return ""
			}
			return value
		}
		if got := f.In(getenv, test.home, test.goos); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/sys/kernel/random/boot_id"); err != nil {
		t.Skip("SKIPPED: this system has no boot_id in /proc")
	}
	boot, err := host.BootID()
	if err != nil || len(boot) != 36 {
		t.Errorf("the boot is %q, %v", boot, err)
	}
	machine, err := host.MachineID()
	if err != nil || machine == "" || strings.TrimSpace(machine) != machine {
		t.Errorf("the machine is %q, %v", machine, err)
	}
}
