// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard/internal/definition"
	"github.com/switchboard-ipc/switchboard/internal/servedef"
)

// importing is what service import is told.
type importing struct {
	version, output string
	force           bool
}

func (a *app) serviceImportCommand() *cobra.Command {
	var i importing
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "write definitions from one for the running-process broker",
		Long: `Import reads FILE, a service definition for the running-process broker (NAME.servicedef or NAME.servicedef.v2), and writes
definitions NAME@VERSION.toml that run the same program: one for each version that FILE allows, or the one of --version.
What Switchboard has no key for becomes a comment. It prints the path of each file it has written. FILE stays as it is.`,
		Example: `  switchboard service import ~/.config/running-process/services/zccache.servicedef --version 1.11.20`,
		Args:    arguments(1, 1, "one FILE"),
		RunE:    func(_ *cobra.Command, args []string) error { return a.serviceImport(args[0], i) },
	}
	cmd.Flags().StringVar(&i.version, "version", "", "the version that the program is (default: each in FILE's allow-list)")
	cmd.Flags().StringVar(&i.output, "output", "", "the folder to write to (default: this user's folder of definitions)")
	cmd.Flags().BoolVar(&i.force, "force", false, "overwrite definitions that exist")
	return cmd
}

func (a *app) serviceImport(file string, i importing) error {
	loaded, err := servedef.Read(file)
	if err != nil {
		return importError(file, err)
	}
	d := loaded.Definition
	versions, err := servedef.Versions(d, i.version)
	if err != nil {
		return importError(file, err)
	}
	if i.output == "" {
		i.output = definition.Folders(nil, os.Getenv)[0]
	}
	var files []definitionFile // all or, as far as can be seen beforehand, none
	for _, v := range versions {
		text, err := servedef.ToTOML(d, v)
		if err != nil {
			return importError(file, err)
		}
		f := definitionFile{filepath.Join(i.output, servedef.FileName(d.ServiceName, v)), text}
		if _, err := os.Lstat(f.path); err == nil && !i.force {
			return exists(f.path)
		}
		files = append(files, f)
	}
	if err := os.MkdirAll(i.output, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		if err := f.write(i.force); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(a.stdout, f.path); err != nil {
			return err
		}
		if _, err := definition.Load(f.path, os.Geteuid()); err != nil {
			return &codeError{exitUsage, err} // the folder's owner or mode
		}
	}
	if folderOfTheirs(file) {
		fmt.Fprintf(a.stderr, "%s: note: while it is there, it goes before what was written\n", file)
	}
	return nil
}

// importError says what is wrong with a file of theirs.
func importError(file string, err error) error {
	var system *fs.PathError
	if errors.As(err, &system) { // which says the path
		return &codeError{exitUsage, fmt.Errorf("cannot import: %w", err)}
	}
	return &codeError{exitUsage, fmt.Errorf("cannot import %s: %w", file, err)}
}

func exists(path string) error {
	return &codeError{exitUsage, fmt.Errorf("%s exists: --force overwrites it", path)}
}

// folderOfTheirs says whether a file is where their definitions are read.
func folderOfTheirs(file string) bool {
	home, _ := os.UserHomeDir()
	theirs, err := os.Stat(servedef.Folder(os.Getenv, home, runtime.GOOS))
	if err != nil {
		return false
	}
	this, err := os.Stat(filepath.Dir(file))
	return err == nil && os.SameFile(theirs, this)
}

// definitionFile is a definition to write.
type definitionFile struct {
	path string
	text []byte
}

// write puts the file in its place whole; a broker that looks meanwhile sees all of it or nothing.
func (f definitionFile) write(overwrite bool) error {
	folder, base := filepath.Split(f.path)
	temporary, err := os.CreateTemp(folder, "."+base+".") // such names are not read
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(f.text)
	if err == nil {
		err = temporary.Chmod(0o644)
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	if overwrite {
		return os.Rename(temporary.Name(), f.path)
	}
	if err := os.Link(temporary.Name(), f.path); errors.Is(err, fs.ErrExist) {
		return exists(f.path)
	} else if err != nil {
		return err
	}
	return nil
}
