// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestLaunchEndsAll: whatever a backend started ends with it, however its main process ends.
func TestLaunchEndsAll(t *testing.T) {
	t.Parallel()
	const common = `
sleep 1001 & echo $!
setsid sleep 1002 & echo $!
env -i sleep 1003 & echo $!
sh -c 'trap "" TERM HUP; setsid sleep 1004 & echo $!; wait' &
`
	for _, tt := range []struct {
		name, script string
		uid          int
	}{
		{"in a cgroup", common + "env -i setsid sleep 1005 & echo $!\n", 0},
		{"without one", common, 65534},
	} {
		for _, end := range []string{"stopped", "killed", "exits"} {
			t.Run(tt.name+", "+end, func(t *testing.T) {
				t.Parallel()
				if tt.uid != 0 && os.Geteuid() != 0 {
					t.Skip("SKIPPED: only root can run a broker as a user that makes no cgroups")
				}
				s := newServices(t)
				gate, tell := fifo(t)
				if err := os.Chmod(gate, 0o666); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(filepath.Dir(gate), 0o755); err != nil {
					t.Fatal(err)
				}
				// The processes have come when their program runs: before, a fork of sh would be counted.
				script := tt.script + `echo done; read x <"$1"; exit 0`
				s.add("up.toml", s.shell("up", "listener", longBackOff, script, gate))
				b := s.start(brokerOptions{UID: tt.uid})
				control := open(t, b.dir)
				if v := verdict(t, dial(t, b.dir, "DIAL up\n")); !strings.HasPrefix(v, "AT ") {
					t.Fatal(v)
				}
				r := recorded(t, b.dir, "up")
				if tt.uid != 0 && r.cgroup != "" {
					t.Fatalf("it has the cgroup %s", r.cgroup)
				}
				if tt.uid == 0 && r.cgroup == "" {
					t.Skip("SKIPPED: no cgroup can be made here")
				}
				var pids []int
				eventually(t, func() string {
					log, _ := os.ReadFile(filepath.Join(b.dir, "log", "up.log"))
					words := strings.Fields(string(log))
					if want := strings.Count(script, "echo $!"); len(words) != want+1 {
						return fmt.Sprintf("it wrote %q", log)
					}
					pids = []int{r.pid}
					for _, w := range words {
						var pid int
						if _, err := fmt.Sscan(w, &pid); err == nil {
							pids = append(pids, pid)
						}
					}
					return ""
				})
				for _, pid := range pids {
					if !running(pid) {
						t.Errorf("process %d does not run", pid)
					}
				}
				switch end {
				case "stopped":
					control.stop(t, "up")
				case "killed":
					kill(t, r.pid, syscall.SIGKILL)
				case "exits":
					tell()
				}
				control.counts(t, 0, 0)
				for _, pid := range pids {
					if running(pid) {
						t.Errorf("process %d still runs", pid)
					}
				}
			})
		}
	}
}
