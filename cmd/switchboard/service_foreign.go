// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"runtime"
	"slices"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/servedef"
)

// foreignAccept is how backends of running-process accept.
const foreignAccept = "running-process"

// foreignServices reads the definitions of running-process of a name, or all (""). Each version that one allows is a service; one that allows
// any is one, without a version.
func foreignServices(name string, uid int, running []switchboard.Entry) (all []service) {
	home, _ := os.UserHomeDir()
	folder := servedef.Folder(os.Getenv, home, runtime.GOOS)
	files, err := servedef.List(folder)
	if err != nil && name == "" {
		all = append(all, service{File: folder, Error: err.Error(), Instances: []instance{}})
	}
	for _, f := range files {
		if name != "" && f.Service != name {
			continue
		}
		loaded, err := servedef.Load(folder, f.Service, uid)
		if err != nil {
			all = append(all, service{Name: f.Service, File: f.Path, Error: err.Error(), Instances: []instance{}})
			continue
		}
		versions := loaded.Definition.VersionAllowList
		if len(versions) == 0 {
			versions = []string{""}
		}
		for _, version := range versions {
			s := service{
				Name: f.Service, Version: version, anyVersion: version == "", File: f.Path, Exec: []string{loaded.Definition.BinaryPath},
				Accept: foreignAccept, Scope: "user", Instances: []instance{},
			}
			for _, e := range running {
				if s.runs(e) {
					s.Instances = append(s.Instances, newInstance(e))
				}
			}
			all = append(all, s)
		}
	}
	return all
}

// runs reports whether an entry is an instance of a service that is defined.
func (s *service) runs(e switchboard.Entry) bool {
	if s.Ports != nil { // one that nobody has checked in is not an instance
		return e.PID != 0 && slices.Contains(s.Ports, e.Name)
	}
	return s.Error == "" && s.Name == e.Name && (s.anyVersion || s.Version == e.Version)
}
