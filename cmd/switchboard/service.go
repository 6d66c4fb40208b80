// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/definition"
	"github.com/switchboard-ipc/switchboard/internal/launch"
)

func (a *app) serviceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "service",
		Short: "look at the definitions: what a broker launches for which name",
		Long: `A definition is a file NAME.toml, or NAME@VERSION.toml, that says what a broker launches for the first caller of a
name. These commands look at definitions, and at what runs of them; they start nothing.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q for service: it has ls, show and check", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.serviceLsCommand(), a.serviceShowCommand(), a.serviceCheckCommand(), a.serviceImportCommand())
	return cmd
}

func (a *app) serviceLsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "list the definitions: which are valid, and what runs of them",
		Long: `Ls lists the definitions in the folders of the broker that runs, else of one that would be started now, without those
of serve --services. Behind them it lists what runs without a definition: commands on the spot.`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.services(cmd.Context(), "")
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.stdout, all)
			}
			return printServices(a.stdout, all)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	return cmd
}

func (a *app) serviceShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "tell what would run for a name, what does, and why not",
		Long: `Show tells about the definitions of NAME, one for each version, and about what runs of them, or without them. A NAME
without either ends with exit code 69; one whose definitions are all invalid, with 64.`,
		Args: oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.serviceShow(cmd.Context(), args[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	return cmd
}

func (a *app) serviceShow(ctx context.Context, name string, asJSON bool) error {
	all, err := a.services(ctx, name)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return &codeError{exitUnavailable, fmt.Errorf("no definition of %s, and the broker has launched nothing for it: write %[1]s.toml into one of the folders\n%s", name, a.folderLines(ctx))}
	}
	if asJSON {
		err = printJSON(a.stdout, all)
	} else {
		err = showServices(a.stdout, all)
	}
	faulty := false
	for _, s := range all {
		if s.Error == "" && s.File != "" {
			return err
		}
		faulty = faulty || s.Error != ""
	}
	if !faulty {
		return err
	}
	return errors.Join(err, &codeError{code: exitUsage})
}

func (a *app) serviceCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE…",
		Short: "say whether definition files are valid, and what is wrong where",
		Long: `Check reads definition files as a broker of this user would. What is wrong goes to stderr, one line for each, as
FILE:LINE: reason; then the exit code is 64. A port is that of the first definition that has it: FILE is compared with
those in the folders of the broker that runs, else of one that would be started now.`,
		Args: arguments(1, 1<<20, "at least one FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.serviceCheck(cmd.Context(), args) },
	}
}

func (a *app) serviceCheck(ctx context.Context, files []string) error {
	faulty := false
	for _, e := range a.loadChecked(ctx, files) {
		file, d, err := e.Path, e.Definition, e.Err
		if err != nil {
			faulty = true
			fmt.Fprintln(a.stderr, err)
			continue
		}
		if _, err := fmt.Fprintf(a.stdout, "%s: ok: %s runs %s\n", file, versioned(d.Name, d.Version), commandLine(d.Exec)); err != nil {
			return err
		}
		if _, err := exec.LookPath(d.Exec[0]); err != nil {
			fmt.Fprintf(a.stderr, "%s: note: here it cannot be run yet: %v\n", file, err)
		}
		if err := checkUser(d.User); err != nil {
			fmt.Fprintf(a.stderr, "%s: note: here it cannot be run yet: %v\n", file, err)
		}
	}
	if faulty {
		return &codeError{code: exitUsage}
	}
	return nil
}

// loadChecked reads the files that are to be checked, and compares them with those of the broker, in whose order they count: a file stands in
// the place of the one that it is or would replace, and others stand behind all.
func (a *app) loadChecked(ctx context.Context, files []string) []definition.Entry {
	checked := make([]definition.Entry, len(files))
	mach := false
	place := make(map[string]int) // by base name
	for i, file := range files {
		checked[i].Path = file
		checked[i].Definition, checked[i].Err = definition.Load(file, os.Geteuid())
		checked[i].Name, checked[i].Version = checked[i].Definition.Name, checked[i].Definition.Version
		mach = mach || checked[i].Definition.Accept == definition.Mach
		place[filepath.Base(file)] = i
	}
	if !mach {
		return checked
	}
	client := a.onlyRunning()
	defer client.Close()
	folders, _ := a.serviceFolders(ctx, client)
	there, _ := definition.List(folders) // what cannot be read has no port
	var all []definition.Entry
	for _, e := range readAll(there, os.Geteuid()) {
		base := filepath.Base(e.Path)
		if i, ok := place[base]; ok {
			e = checked[i]
			delete(place, base)
		}
		all = append(all, e)
	}
	for _, i := range slices.Sorted(maps.Values(place)) {
		all = append(all, checked[i])
	}
	faults := definition.PortFaults(all)
	for i := range checked {
		if fault := faults[checked[i].Path]; fault != nil {
			checked[i].Err = fault
		}
	}
	return checked
}

// checkUser says why a broker of this user could not run a program as the user of a definition.
func checkUser(who string) error {
	if who == "" {
		return nil
	}
	if _, err := launch.LookupUser(who); err != nil {
		return err
	}
	if os.Geteuid() != 0 && who != launch.OwnUser().Name {
		return fmt.Errorf("only a broker of root runs services as another user (%q)", who)
	}
	return nil
}

// serviceFolders returns the folders of the broker that runs, else those that one would have, and what the broker knows, else nil.
func (a *app) serviceFolders(ctx context.Context, client *switchboard.Client) (folders []string, status *switchboard.Status) {
	if s, err := client.Status(ctx); err == nil && len(s.Services) > 0 {
		return s.Services, &s
	}
	return definition.Folders(nil, os.Getenv), nil
}

// folderLines lists the folders, indented.
func (a *app) folderLines(ctx context.Context) string {
	client := a.onlyRunning()
	defer client.Close()
	folders, _ := a.serviceFolders(ctx, client)
	text := ""
	for i, folder := range folders {
		if i > 0 {
			text += "\n"
		}
		text += "  " + folder
	}
	return text
}
