// SPDX-License-Identifier: Apache-2.0

package servedef

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// MaxSize is the size of the largest definition file, in bytes.
const MaxSize = 1 << 20

var tooLarge = fmt.Sprintf("it is larger than %d bytes, which no definition is", MaxSize)

// Loaded is a valid definition.
type Loaded struct {
	Definition envelope.ServiceDefinition // HTTPServer only of a .servicedef.v2
	Path       string
	V2         bool // it was read from a .servicedef.v2
}

// Load reads and checks the definition of a service, for a broker that runs as
// the user uid: {service}.servicedef.v2, or if there is none {service}.servicedef
// (also written .servedef, with the same order).
// It keeps nothing, so what was changed counts from the next call on.
//
// The order of checks and the texts of errors are those of section 11: folder,
// name, file, encoding, fields; see envelope.DefinitionRefusal for what a client
// is told. A missing folder or file is fs.ErrNotExist. Other than the original (D9 of section 18), the folder's permissions and all fields
// are checked for .servicedef.v2, too; and the file must belong to root or the
// user, be writable by nobody else, and have at most [MaxSize] bytes.
func Load(folder, service string, uid int) (Loaded, error) {
	if err := checkFolder(folder, uid); err != nil {
		return Loaded{}, err
	}
	if err := envelope.CheckName(service); err != nil {
		return Loaded{}, err
	}
	at := filepath.Join(folder, service)
	var err error
	for _, suffix := range suffixes {
		var data []byte
		if data, err = readFile(at+suffix.text, uid); err == nil {
			return decode(at+suffix.text, service, suffix.v2, data)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return Loaded{}, err
		}
	}
	return Loaded{}, err
}

// Read reads and checks one definition file, whosever it is. If it is named as
// definitions are, it must be that of the service it is named after.
func Read(file string) (Loaded, error) {
	data, err := readFile(file, anybody)
	if err != nil {
		return Loaded{}, err
	}
	service, v2, ok := named(filepath.Base(file))
	if !ok {
		service = ""
	}
	return decode(file, service, v2, data)
}

// decode checks what is in a file; service "" is the one that it declares.
func decode(file, service string, v2 bool, data []byte) (Loaded, error) {
	d, err := envelope.ParseServiceDefinition(data)
	if err != nil {
		return Loaded{}, envelope.DefinitionSyntax(err)
	}
	if service == "" {
		service = d.ServiceName
	}
	if err := envelope.CheckDefinition(service, d); err != nil {
		return Loaded{}, err
	}
	if !v2 {
		d.HTTPServer = nil // the field is unknown there
	}
	return Loaded{d, file, v2}, nil
}

// anybody stands for a user when it is all the same whose a file is.
const anybody = -1

// readFile reads a definition file, which may be a link.
func readFile(name string, uid int) ([]byte, error) {
	// Without O_NONBLOCK, a pipe would be waited for.
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, systemError(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, systemError(err)
	}
	if uid == anybody {
		if !info.Mode().IsRegular() {
			return nil, &FileError{name, "it is not a regular file"}
		}
	} else if reason := checkFile(info, uid); reason != "" {
		return nil, &FileError{name, reason}
	}
	data, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		return nil, systemError(err)
	}
	if len(data) > MaxSize {
		return nil, &FileError{name, tooLarge}
	}
	return data, nil
}
