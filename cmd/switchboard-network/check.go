// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard/network"
	"github.com/switchboard-ipc/switchboard/network/config"
	"github.com/switchboard-ipc/switchboard/network/usernet"
)

// checked is one network in the output of check --json.
type checked struct {
	Name   string   `json:"name"`
	File   string   `json:"file"` // "" for a built-in network
	Mode   string   `json:"mode"`
	Subnet string   `json:"subnet"` // "" if the driver chooses
	Error  string   `json:"error"`  // "" if it is valid: else FILE:LINE: reason
	Notes  []string `json:"notes"`

	subnet netip.Prefix
}

func (a *app) checkCommand() *cobra.Command {
	var folder string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check [FILE…]",
		Short: "say whether networks' files are valid, and what is wrong where",
		Long: `Check reads the files of networks as the network service of this user would, or only FILEs. What is wrong goes to
stderr, one line for each, as FILE:LINE: reason; then the exit code is 64. Subnets that overlap are noted: of two such
networks only one can be there at a time.`,
		RunE: func(_ *cobra.Command, args []string) error {
			var err error
			if folder, err = checkFolder(folder); err != nil {
				return err
			}
			return a.check(checkAll(folder, args), asJSON)
		},
	}
	cmd.Flags().StringVar(&folder, "networks", "", "the folder with the networks' files, in place of the usual ones")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	return cmd
}

// checkAll reads the files, or those of the folders.
func checkAll(folder string, files []string) []checked {
	uid := os.Geteuid()
	var entries []config.Entry
	for _, file := range files {
		e := config.Entry{Name: strings.TrimSuffix(filepath.Base(file), config.Suffix), File: file}
		e.Network, e.Err = config.Load(file, uid)
		entries = append(entries, e)
	}
	if len(files) == 0 {
		entries = config.List(config.Folders(folder, os.Getenv), uid)
	}
	all := make([]checked, 0, len(entries))
	for _, e := range entries {
		c := checked{Name: e.Name, File: e.File, Notes: []string{}}
		err := e.Err
		if err == nil {
			c.Mode = string(e.Network.Mode)
			if c.subnet = e.Network.Subnet; c.subnet.IsValid() {
				c.Subnet = c.subnet.String()
			}
			err = network.UserDriver{}.Check(e.Network)
		}
		if err != nil {
			c.Error = err.Error()
		}
		all = append(all, c)
	}
	noteOverlaps(all)
	return all
}

// noteOverlaps notes the subnets that overlap each other, or what this machine is in.
func noteOverlaps(all []checked) {
	ours, _ := usernet.HostPrefixes()
	for i := range all {
		c := &all[i]
		if !c.subnet.IsValid() || c.Error != "" {
			continue
		}
		for j, other := range all {
			if i != j && other.Error == "" && other.subnet.IsValid() && c.subnet.Overlaps(other.subnet) {
				c.Notes = append(c.Notes, fmt.Sprintf("its subnet %s overlaps %s of %s: only one of them can be there at a time", c.subnet, other.subnet, other.Name))
			}
		}
		if at := slices.IndexFunc(ours, c.subnet.Overlaps); at >= 0 {
			c.Notes = append(c.Notes, fmt.Sprintf("its subnet %s overlaps %s, an address or route of this machine, which guests cannot reach then", c.subnet, ours[at]))
		}
	}
}

var errFaulty = errors.New("")

// check prints what was found.
func (a *app) check(all []checked, asJSON bool) error {
	faulty := false
	for _, c := range all {
		faulty = faulty || c.Error != ""
		if asJSON {
			continue
		}
		if c.Error != "" {
			fmt.Fprintln(a.stderr, c.Error)
			continue
		}
		where, subnet := c.File, c.Subnet
		if where == "" {
			where = c.Name + " (built in)"
		}
		if subnet == "" {
			subnet = "a free subnet"
		}
		if _, err := fmt.Fprintf(a.stdout, "%s: ok: %s, %s\n", where, c.Mode, subnet); err != nil {
			return err
		}
		for _, note := range c.Notes {
			fmt.Fprintf(a.stderr, "%s: note: %s\n", where, note)
		}
	}
	if asJSON {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(all); err != nil {
			return err
		}
	}
	if faulty {
		return &codeError{exitUsage, errFaulty}
	}
	return nil
}
