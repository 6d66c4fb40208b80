// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/cobra"
)

// readyFD is the number of the pipe on which a broker that was started for a program says that it is ready.
const readyFD = 3

func (a *app) detachCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "_detach",
		Short:  "start `switchboard serve` as a process of nobody's",
		Hidden: true,
		Args:   arguments(0, 0, "no arguments"),
		RunE:   func(*cobra.Command, []string) error { return detach() },
	}
}

// detach starts the broker and returns at once, so that whoever ran us is not its parent. The broker has nothing of
// its starter's: no descriptor but the ready pipe, no terminal or session, no folder. The environment is for the starter to choose.
func detach() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find this executable: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	if err := closeInherited(); err != nil {
		return err
	}
	ready := os.NewFile(readyFD, "ready")
	process, err := os.StartProcess(self, []string{"switchboard", "serve"}, &os.ProcAttr{
		Dir:   "/",
		Files: []*os.File{null, null, null, ready},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("cannot start the broker: %w", err)
	}
	return process.Release()
}

// closeInherited marks everything that was inherited to be closed in the broker; what StartProcess is given it passes
// on all the same.
func closeInherited() error {
	dir := "/proc/self/fd"
	if _, err := os.Stat(dir); err != nil {
		dir = "/dev/fd"
	}
	numbers, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot list open descriptors: %w", err)
	}
	for _, n := range numbers {
		var fd int
		if _, err := fmt.Sscan(n.Name(), &fd); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}
