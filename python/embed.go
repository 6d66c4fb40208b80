// SPDX-License-Identifier: Apache-2.0

// Package python has the Python package as files, for programs that give it to a child of theirs.
package python

import "embed"

// Files are the modules of the package switchboard: a folder for PYTHONPATH.
//
//go:embed switchboard/*.py switchboard/frames/*.py
var Files embed.FS
