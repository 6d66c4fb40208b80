// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/servedef"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// findService goes on with a valid Hello: when its definition was read, which may take as long as a file system likes. The loop's.
func (b *Broker) findService(c *caller) {
	if definitions := b.warm.recall(helloKey(c.call.hello), b.now()); definitions != nil {
		b.mu.Lock()
		b.unpoll(c)
		b.callFor(c, definitions)
		b.mu.Unlock()
		b.finishSlices()
		return
	}
	if b.crowded() {
		b.refuseFrame(c, c.call.frame, envelope.Refusal{Code: envelope.CodeRateLimited, Reason: "the definitions of many services are being read", RetryAfterMS: 1000})
		return
	}
	b.beside(c, func() {
		definitions, refusal := b.serviceFor(c.call.hello)
		b.mu.Lock()
		defer b.mu.Unlock()
		if refusal != nil {
			b.sendRefusal(c, c.call.frame, *refusal)
			b.closeCaller(c)
			return
		}
		b.callFor(c, definitions)
	})
}

// helloKey is what a Hello calls.
func helloKey(h envelope.Hello) directory.Key {
	return directory.Key{Namespace: directory.Root, Name: h.ServiceName, Version: h.WantedVersion}
}

// callFor asks the directory for the backend that a Hello is for. The lock is held.
func (b *Broker) callFor(c *caller, definitions []directory.Definition) {
	h := c.call.hello
	c.call.key = helloKey(h)
	if f := c.call.frame; f.TraceParent != "" || f.TraceState != "" {
		b.traces[c.call.key] = [2]string{f.TraceParent, f.TraceState}
	}
	b.enter(c, directory.Call{Name: h.ServiceName, Version: h.WantedVersion, Definitions: definitions, Exact: true, ByPath: true})
	delete(b.traces, c.call.key)
}

// serviceFor returns what can be launched for a Hello: by a definition file of the original's, else by one of ours with the very version;
// nothing and no refusal if the name is somebody's already. It reads files.
func (b *Broker) serviceFor(h envelope.Hello) ([]directory.Definition, *envelope.Refusal) {
	began := time.Now()
	loaded, err := servedef.Load(b.servedefs, h.ServiceName, b.uid)
	switch {
	case err == nil:
		if r := envelope.CheckPolicy(loaded.Definition, h.WantedVersion); r != nil {
			return nil, r
		}
		def, r := b.probed(loaded, h.WantedVersion)
		if r != nil {
			return nil, r
		}
		b.warm.note(helloKey(h), b.servedefs, loaded, def, began, b.now())
		return []directory.Definition{def}, nil
	case !errors.Is(err, fs.ErrNotExist):
		r := envelope.DefinitionRefusal(err)
		return nil, &r
	}
	entries := b.catalogue.Named(h.ServiceName)
	var all []directory.Definition
	for _, e := range entries {
		if def := convert(e); def.Version == h.WantedVersion && !e.Definition.Scoped {
			all = append(all, def)
		}
	}
	switch {
	case len(all) > 0:
		return all, nil
	case len(entries) > 0:
		return nil, &envelope.RefusedNotAllowed
	case b.index.find(directory.Root, []byte(h.ServiceName)) != nil && !b.hasProbed(h.ServiceName):
		return nil, nil // by a program that was started by hand
	}
	return nil, &envelope.RefusedUnknownService
}

// hasProbed reports whether a name is had by what was launched by a definition of the original's.
func (b *Broker) hasProbed(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, be := range b.backends {
		if be.key.Name == name && be.definition.Probed {
			return true
		}
	}
	return false
}

// Times of what is launched by the original's definitions, which say none (section 8 of its reference).
const (
	probedStart = 60 * time.Second
	probedStop  = 5 * time.Second
	probedIdle  = 30 * time.Second
	probedRetry = 30 * time.Second // for which failures are remembered
)

// probed makes of a definition of the original's what the directory launches. Its identity is the version that was asked for, and the
// program as it is now.
func (b *Broker) probed(loaded servedef.Loaded, version string) (directory.Definition, *envelope.Refusal) {
	instance, err := envelope.InstanceID(loaded.Definition)
	if err != nil {
		r := envelope.RefusedIsolation(err.Error())
		return directory.Definition{}, &r
	}
	def := directory.Definition{
		Version: version, Source: loaded.Path, Summary: loaded.Definition.BinaryPath, Accept: directory.Path, Probed: true,
		Start: int64(probedStart), Stop: int64(probedStop), Idle: int64(probedIdle), RetryMin: int64(time.Second), RetryMax: int64(probedRetry),
	}
	program, err := b.program(loaded.Definition)
	if err != nil {
		r := envelope.RefusedSpawn(err.Error())
		return def, &r
	}
	sum, _, err := b.hasher.Hash(program)
	if err != nil {
		r := envelope.RefusedSpawn(err.Error())
		return def, &r
	}
	def.Hash = fmt.Sprintf("%x", sum)
	def.Run = directory.Command{
		Argv: []string{program},
		Env: []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "RUNNING_PROCESS_IS_DAEMON=1",
			"RUNNING_PROCESS_BROKER_V1_SERVICE_NAME=" + loaded.Definition.ServiceName, "RUNNING_PROCESS_BROKER_V1_SERVICE_VERSION=" + version,
			"RUNNING_PROCESS_BROKER_V1_BACKEND_NAMESPACE=" + instance, "RUNNING_PROCESS_BROKER_V1_INSTANCE=" + instance,
		},
		PassEnv: passedToProbed(),
	}
	return def, nil
}

// foreign is what a definition file of the original's says of a name.
type foreign struct {
	loaded   servedef.Loaded
	versions []string // that can be called
	broken   string   // why none can, or ""
}

// foreignDefinition reads what the original's definition says to callers who name no version exactly, or do: the versions that it allows,
// else the one that is asked for, else its lowest. False: it says nothing of the name.
func (b *Broker) foreignDefinition(name, constraint string) (f foreign, ok bool) {
	if !envelope.ValidName(name) {
		return f, false
	}
	loaded, err := servedef.Load(b.servedefs, name, b.uid)
	var insecure *servedef.InsecureError
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.As(err, &insecure) {
		return f, false // a folder that cannot be used says nothing of this name
	}
	if err != nil {
		return foreign{broken: err.Error()}, true
	}
	d := loaded.Definition
	versions := d.VersionAllowList
	switch {
	case len(versions) > 0:
	case envelope.ValidVersion(constraint):
		versions = []string{constraint}
	case d.MinVersion != "":
		versions = []string{d.MinVersion}
	default:
		return foreign{broken: loaded.Path + " names no version: ask for one, as in --version 1.2.3"}, true
	}
	f.loaded = loaded
	for _, version := range versions {
		if envelope.CheckPolicy(d, version) == nil {
			f.versions = append(f.versions, version)
		}
	}
	return f, len(f.versions) > 0
}

// probedDefinitions makes of the original's definition of a name what can be launched.
func (b *Broker) probedDefinitions(name, constraint string) (all []directory.Definition) {
	f, ok := b.foreignDefinition(name, constraint)
	if !ok {
		return nil
	}
	if f.broken != "" {
		return []directory.Definition{{Source: b.servedefs, Summary: "nothing: " + f.broken, Broken: f.broken}}
	}
	for _, version := range f.versions {
		def, refusal := b.probed(f.loaded, version)
		if refusal != nil {
			def.Broken = refusal.Reason
		}
		all = append(all, def)
	}
	return all
}

// isDefined reports whether a file defines a name, in a version that suits where only the constraint says which there are.
func (b *Broker) isDefined(name, constraint string) bool {
	if b.catalogue.has(name) {
		return true
	}
	_, ok := b.foreignDefinition(name, constraint)
	return ok
}

// passedToProbed is what a backend of the original's inherits beside the clean environment.
func passedToProbed() []string {
	names := []string{"TMPDIR"}
	for _, kv := range os.Environ() {
		if k, _, _ := strings.Cut(kv, "="); strings.HasPrefix(k, "LC_") {
			names = append(names, k)
		}
	}
	return names
}

// program is the file that a definition runs, without links. Where a folder of versions is named, it must lie below that.
func (b *Broker) program(d envelope.ServiceDefinition) (string, error) {
	program, err := filepath.EvalSymlinks(d.BinaryPath)
	if err != nil {
		return "", fmt.Errorf("binary_path cannot be used: %w", err)
	}
	if d.PerVersionBinaryDir == "" {
		return program, nil
	}
	dir, err := filepath.EvalSymlinks(d.PerVersionBinaryDir)
	if err != nil {
		return "", fmt.Errorf("per_version_binary_dir cannot be used: %w", err)
	}
	if !strings.HasPrefix(program, strings.TrimSuffix(dir, "/")+"/") {
		return "", fmt.Errorf("binary_path %s is not below per_version_binary_dir %s", program, dir)
	}
	return program, nil
}

// refuseHello translates why the directory refuses a caller. The lock is held.
func (b *Broker) refuseHello(c *caller, r directory.Refusal) {
	b.sendRefusal(c, c.call.frame, b.helloRefusal(c, r))
}

func (b *Broker) helloRefusal(c *caller, r directory.Refusal) envelope.Refusal {
	detail := strings.ReplaceAll(r.Text, "\n", " | ")
	switch r.Reason {
	case directory.Unknown:
		return envelope.RefusedUnknownService
	case directory.WrongKind:
		return envelope.RefusedUnregistered
	case directory.Mismatch:
		return envelope.RefusedNotAllowed
	case directory.BackingOff:
		retry := b.directory.Retry(c.call.key, b.now())
		ms := uint64(max(1, (retry.After+999_999)/1e6))
		if retry.Exhausted {
			return envelope.RefusedBudget(ms)
		}
		refusal := envelope.RefusedSpawn(retry.Reason)
		refusal.RetryAfterMS = ms
		return refusal
	case directory.LimitHit:
		return envelope.Refusal{Code: envelope.CodeRateLimited, Reason: detail, RetryAfterMS: 1000}
	case directory.Denied:
		return envelope.Refusal{Code: envelope.CodePeerRejected, Reason: detail}
	}
	return envelope.RefusedSpawn(detail)
}

// since is how long ago a caller of the front was accepted.
func (b *Broker) since(c *caller) time.Duration { return time.Duration(b.now() - c.call.began) }

// helloTimeout is how long a request may take to arrive.
func helloTimeout(getenv func(string) string) time.Duration {
	if ms, err := strconv.Atoi(getenv("RUNNING_PROCESS_BROKER_HELLO_TIMEOUT_MS")); err == nil && ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return 30 * time.Second
}
