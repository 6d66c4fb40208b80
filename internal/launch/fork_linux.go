// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"syscall"

	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// fork starts a program in a session of its own, in the cgroup of a descriptor unless that is -1.
func fork(path string, argv, env []string, files []uintptr, cgroup int) (pid int, pidfd *sys.FD, err error) {
	n := -1
	attr := &syscall.ProcAttr{
		Dir: "/", Env: env, Files: files,
		Sys: &syscall.SysProcAttr{Setsid: true, PidFD: &n, UseCgroupFD: cgroup >= 0, CgroupFD: max(cgroup, 0)},
	}
	pid, err = syscall.ForkExec(path, argv, attr)
	if err != nil {
		return 0, nil, err
	}
	if n >= 0 {
		return pid, sys.NewFD(n), nil
	}
	if pidfd, err = sys.PIDFDOpen(pid); err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = syscall.Wait4(pid, nil, 0, nil)
	}
	return pid, pidfd, err
}
