// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard/network/config"
)

func (a *app) networkImportCommand() *cobra.Command {
	var output string
	var force bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "write a network's file from one of vmnet-broker",
		Long: `Import reads FILE, a network's file of vmnet-broker (NAME.json or NAME.plist), writes the file that says the same here, NAME.toml,
and prints what it has written; where, it says on stderr. FILE stays as it is. What is imported is valid; whether a driver can
do it, switchboard network check says.`,
		Example: `  switchboard network import /etc/vmnet-broker.d/lab.plist`,
		Args:    arguments(1, 1, "one FILE"),
		RunE:    func(_ *cobra.Command, args []string) error { return a.networkImport(args[0], output, force) },
	}
	cmd.Flags().StringVar(&output, "output", "", "the folder to write to (default: this user's folder of networks; -: only print it)")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite a file that exists")
	return cmd
}

func (a *app) networkImport(file, output string, force bool) error {
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
	if output == "-" {
		_, err := a.stdout.Write(text)
		return err
	}
	if output == "" {
		output = config.Folders("", os.Getenv)[0]
	}
	if err := os.MkdirAll(output, 0o755); err != nil {
		return err
	}
	f := definitionFile{filepath.Join(output, n.Name+config.Suffix), text}
	if there, err := os.ReadFile(f.path); err != nil || !bytes.Equal(there, text) {
		if err := f.write(force); err != nil {
			return err
		}
	}
	if _, err := a.stdout.Write(text); err != nil {
		return err
	}
	a.say("wrote %s", f.path)
	if _, err := config.Load(f.path, os.Geteuid()); err != nil {
		var fault *config.Error
		if errors.As(err, &fault) {
			return &codeError{exitUsage, err} // the folder's owner or mode
		}
		return err
	}
	return nil
}
