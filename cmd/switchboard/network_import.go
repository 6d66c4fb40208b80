// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard/network/config"
)

func (a *app) networkImportCommand() *cobra.Command {
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "write a network's file from one of vmnet-broker",
		Long: `Import reads FILE, a network's file of vmnet-broker (NAME.json or NAME.plist), and prints the file that says the same
here, or with --out writes it to DIR as NAME.toml and prints its path. FILE stays as it is. What is imported is valid; whether
a driver can do it, switchboard network check says.`,
		Example: `  switchboard network import /etc/vmnet-broker.d/lab.plist --out ~/.config/switchboard/networks`,
		Args:    arguments(1, 1, "one FILE"),
		RunE:    func(_ *cobra.Command, args []string) error { return a.networkImport(args[0], out, force) },
	}
	cmd.Flags().StringVar(&out, "out", "", "the folder to write to, made if there is none (default: print it)")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite a file that exists")
	return cmd
}

func (a *app) networkImport(file, out string, force bool) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return &codeError{exitUsage, fmt.Errorf("cannot import: %w", err)}
	}
	var n *config.Network
	var text []byte
	switch filepath.Ext(file) {
	case ".json":
		n, text, err = config.ImportJSON(file, data)
	case ".plist":
		n, text, err = config.ImportPlist(file, data)
	default:
		err = fmt.Errorf("cannot import %s: it must be NAME.json or NAME.plist, and NAME is the network's", file)
	}
	if err != nil {
		return &codeError{exitUsage, err}
	}
	if out == "" {
		_, err := a.stdout.Write(text)
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	f := definitionFile{filepath.Join(out, n.Name+config.Suffix), text}
	if err := f.write(force); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(a.stdout, f.path); err != nil {
		return err
	}
	if _, err := config.Load(f.path, os.Geteuid()); err != nil {
		var fault *config.Error
		if errors.As(err, &fault) {
			return &codeError{exitUsage, err} // the folder's owner or mode
		}
		return err
	}
	return nil
}
