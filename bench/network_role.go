// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"

	"github.com/switchboard-ipc/switchboard/mach"
	"github.com/switchboard-ipc/switchboard/network"
)

// netCounts are what a netRole answers.
type netCounts struct {
	Goroutines int `json:"goroutines"`
}

// netRole is the network service, FOLDER NETWORKS, as switchboard-network serve is it, which answers each line with its netCounts: nobody else
// sees its goroutines.
func netRole(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	if len(args) != 2 {
		fmt.Fprintln(errOut, "usage: role-net FOLDER NETWORKS")
		return 64
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := network.New(network.Config{
		Mach: mach.Options{RuntimeDir: args[0], NoAutostart: true}, Folders: []string{args[1]},
		Ready: func() { fmt.Fprintln(out, "ready") },
	})
	if err != nil {
		fmt.Fprintln(errOut, err)
		return 1
	}
	go func() {
		defer cancel()
		lines, answers := bufio.NewScanner(in), json.NewEncoder(out)
		for lines.Scan() {
			runtime.GC()
			if answers.Encode(netCounts{runtime.NumGoroutine()}) != nil {
				return
			}
		}
	}()
	if err := s.Serve(ctx); err != nil {
		fmt.Fprintln(errOut, err)
		return 1
	}
	return 0
}
