// SPDX-License-Identifier: Apache-2.0

package main

import "syscall"

// endWithUs lets the kernel end a process of the tour when the tour is killed, and cannot do it.
func endWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGTERM }
