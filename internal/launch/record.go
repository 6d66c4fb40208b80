// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/host"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

// maxRecord bounds a record's file.
const maxRecord = 1 << 20

// Record is what the runtime folder keeps about a living backend, so that the next broker finds it: a file INSTANCE.json.
// It is written before the backend runs, and again when its program is known.
type Record struct {
	Instance  string   `json:"instance"`
	Name      string   `json:"name"`
	Version   string   `json:"version,omitempty"`
	Scope     string   `json:"scope,omitempty"`
	Namespace uint64   `json:"namespace,omitempty"`
	Hash      string   `json:"hash,omitempty"` // of a command on the spot
	File      string   `json:"file,omitempty"` // of the definition
	Argv      []string `json:"argv"`
	Accept    string   `json:"accept"`
	Socket    string   `json:"socket,omitempty"`
	Log       string   `json:"log,omitempty"`     // in the runtime folder
	Retired   bool     `json:"retired,omitempty"` // newcomers were kept from it
	Since     int64    `json:"since,omitempty"`   // when it was launched, Unix milliseconds

	StopTimeout time.Duration   `json:"stop_timeout,omitempty"` // nanoseconds
	IdleStop    time.Duration   `json:"idle_stop,omitempty"`    // nanoseconds
	Definition  json.RawMessage `json:"definition,omitempty"`   // as the broker likes

	// What the process is, see Identify.
	PID       int    `json:"pid"`
	Began     uint64 `json:"began"`
	Boot      string `json:"boot"`
	PIDInode  uint64 `json:"pid_inode,omitempty"`
	Exe       string `json:"exe,omitempty"`
	ExeDevice uint64 `json:"exe_device,omitempty"`
	ExeInode  uint64 `json:"exe_inode,omitempty"`
	Cgroup    string `json:"cgroup,omitempty"`
}

// Identify fills in what the process of r is. With program it also notes which file it executes: call it so after the shim's control
// socket has hung up; before, that file is the shim's. It fails for a process that has exited meanwhile.
func (r *Record) Identify(p *Process, program bool) error {
	boot, err := host.BootID()
	if err != nil {
		return err
	}
	r.Instance, r.PID, r.Began, r.Boot, r.PIDInode, r.Cgroup = p.Instance, p.PID, p.Began, boot, p.Inode, p.Cgroup
	r.Exe, r.ExeDevice, r.ExeInode = "", 0, 0
	if !program {
		return nil
	}
	r.Exe, r.ExeDevice, r.ExeInode, err = executable(p.PID)
	return err
}

// WriteRecord writes r into the folder, so that a reader sees all of it or the one before.
func WriteRecord(folder string, r Record) error {
	if !isInstance(r.Instance) {
		return fmt.Errorf("cannot record a backend: its instance %q is not 32 hexadecimal digits", r.Instance)
	}
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("cannot record the backend %s: %w", r.Instance, err)
	}
	path := filepath.Join(folder, r.Instance+".json")
	err = os.WriteFile(path+".new", append(b, '\n'), 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		os.Remove(path + ".new")
		return fmt.Errorf("cannot record the backend %s: %w", r.Instance, err)
	}
	return nil
}

// RemoveRecord removes the record of an instance. That there is none is no error.
func RemoveRecord(folder, instance string) error {
	err := os.Remove(filepath.Join(folder, instance+".json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// RecordFolder is the folder of records in a runtime folder.
const RecordFolder = "i"

// ReadRecords returns the records of a folder, in order of instance, and an error for each file that is none. Leftovers of a writer
// that was killed are removed. A folder that is missing has no records.
func ReadRecords(folder string) ([]Record, []error) {
	leftovers, err := filepath.Glob(filepath.Join(folder, "*.json.new"))
	if err == nil {
		for _, path := range leftovers {
			os.Remove(path)
		}
	}
	return LookAtRecords(folder)
}

// LookAtRecords is ReadRecords while somebody writes them: nothing is removed.
func LookAtRecords(folder string) ([]Record, []error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var list []Record
	var errs []error
	if err != nil {
		errs = append(errs, err)
	}
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		if !strings.HasSuffix(path, ".json") {
			continue
		}
		r, err := readRecord(path)
		if err == nil && r.Instance+".json" != e.Name() {
			err = fmt.Errorf("it is about the instance %q", r.Instance)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s is no record of a backend: %w", path, err))
			continue
		}
		list = append(list, r)
	}
	return list, errs
}

func readRecord(path string) (r Record, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return r, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	return r, err
}

// Find returns the living process of a record, if the kernel confirms that it is the very same: the boot, the start time, the inode
// of the pidfd, and (where there is no such inode) the executed file, by device and inode. The error says what differs; then the record is
// stale, and Remains has what may be left.
func (l *Launcher) Find(r Record) (*Process, error) {
	stale := func(why string) error {
		return fmt.Errorf("process %d is not the backend %s any more: %s", r.PID, r.Instance, why)
	}
	boot, err := host.BootID()
	if err != nil {
		return nil, err
	}
	if boot != r.Boot {
		return nil, stale("the machine has been started anew")
	}
	if r.PID <= 1 {
		return nil, stale("the record has no process")
	}
	fd, err := sys.PIDFDOpen(r.PID)
	if err != nil {
		return nil, stale("there is no such process")
	}
	p := &Process{Instance: r.Instance, PID: r.PID, PIDFD: fd, Cgroup: r.Cgroup, launcher: l}
	fail := func(why string) (*Process, error) {
		fd.Close()
		return nil, stale(why)
	}
	if err := p.identify(); err != nil {
		return fail(err.Error())
	}
	if p.Began != r.Began {
		return fail("that process started at another time")
	}
	if r.PIDInode != 0 && p.Inode != 0 && p.Inode != r.PIDInode {
		return fail("that process has another identity (inode of its pidfd)")
	}
	if r.ExeInode != 0 && p.Inode == 0 {
		if _, dev, ino, err := executable(r.PID); err == nil && (dev != r.ExeDevice || ino != r.ExeInode) {
			return fail("that process runs another program than " + r.Exe)
		}
	}
	if sys.Exited(fd.Int()) {
		return fail("it has exited")
	}
	if st, err := sys.StatProcess(p.PID); err == nil {
		p.child = st.Parent == os.Getpid()
	}
	p.checkGroup()
	l.mu.Lock()
	l.live[p] = true
	l.mu.Unlock()
	return p, nil
}

// Remains stands for what a stale record's backend may have left: only KillTree and Close are of use. It is nil if nothing can be
// left, because the machine has been started anew, or its cgroup is gone.
func (l *Launcher) Remains(r Record) *Process {
	if boot, err := host.BootID(); err != nil || boot != r.Boot || r.PID <= 1 || !isInstance(r.Instance) {
		return nil
	}
	p := &Process{Instance: r.Instance, PID: r.PID, Began: r.Began, Cgroup: r.Cgroup, launcher: l}
	p.checkGroup()
	if p.Cgroup == "" && filepath.Base(r.Cgroup) == groupPrefix+r.Instance {
		return nil
	}
	return p
}

// checkGroup forgets a cgroup that is not, by its name, this instance's, or that is gone.
func (p *Process) checkGroup() {
	if p.Cgroup == "" {
		return
	}
	if filepath.Base(p.Cgroup) != groupPrefix+p.Instance {
		p.Cgroup = ""
	} else if _, err := os.Stat(filepath.Join(p.Cgroup, "cgroup.kill")); err != nil {
		p.Cgroup = ""
	}
}
