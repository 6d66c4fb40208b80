// SPDX-License-Identifier: Apache-2.0

package guesttest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// wantedModules are what a guest needs for its interface. What they stand on is found by the modules' own word.
var wantedModules = []string{"virtio_pci", "virtio_net"}

// unpackers of the ways in which distributions compress modules.
var unpackers = map[string][]string{
	".ko":     nil,
	".ko.xz":  {"xz", "-dc"},
	".ko.zst": {"zstd", "-dcq"},
	".ko.gz":  {"gzip", "-dc"},
}

// collectModules copies wantedModules and what they depend on from a folder lib/modules/VERSION
// to another, unpacked, and returns their names in the order in which they load.
func collectModules(from, to string) (order []string, err error) {
	files := map[string]string{}
	err = filepath.WalkDir(filepath.Join(from, "kernel"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _, _ := strings.Cut(d.Name(), ".")
			files[moduleName(name)] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(from, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	inKernel := map[string]bool{}
	for line := range strings.FieldsSeq(string(builtin)) {
		inKernel[moduleName(strings.TrimSuffix(filepath.Base(line), ".ko"))] = true
	}
	seen := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		if name = moduleName(name); seen[name] || inKernel[name] {
			return nil
		}
		seen[name] = true
		if files[name] == "" {
			return fmt.Errorf("no module %s in %s", name, from)
		}
		data, err := readModule(files[name])
		if err != nil {
			return err
		}
		depends, err := moduleDepends(data)
		if err != nil {
			return fmt.Errorf("module %s: %w", files[name], err)
		}
		for _, d := range depends {
			if err := add(d); err != nil {
				return err
			}
		}
		order = append(order, name)
		return os.WriteFile(filepath.Join(to, name+".ko"), data, 0o644)
	}
	for _, name := range wantedModules {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// moduleName is how the kernel names a module; files are named with either of - and _.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

func readModule(path string) ([]byte, error) {
	base := filepath.Base(path)
	unpack, known := unpackers[base[strings.Index(base, "."):]]
	if !known {
		return nil, fmt.Errorf("cannot unpack module %s", path)
	}
	if unpack == nil {
		return os.ReadFile(path)
	}
	data, err := exec.Command(unpack[0], append(unpack[1:], path)...).Output()
	if err != nil {
		return nil, fmt.Errorf("cannot unpack module %s: %w", path, err)
	}
	return data, nil
}

// moduleDepends reads the names of a module's section .modinfo; a package that is not configured has no modules.dep yet.
func moduleDepends(module []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("no .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if names, is := strings.CutPrefix(field, "depends="); is && names != "" {
			return strings.Split(names, ","), nil
		}
	}
	return nil, nil
}
