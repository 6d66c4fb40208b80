// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/internal/name"
)

// bootstrapSocket is the socket for Mach messages in the runtime folder.
const bootstrapSocket = "bootstrap.sock"

// space is where run runs its command.
type space struct {
	namespace string // "": where we are
	subset    bool   // one that nobody else has
	sealed    bool
	only      []string // if it is sealed: the names that exist around it
}

func (s *space) flags(flags *pflag.FlagSet) {
	flags.StringVar(&s.namespace, "namespace", "", "the namespace to run in, made if there is none")
	flags.BoolVar(&s.subset, "subset", false, "run in a new namespace, which ends with run")
	flags.StringSliceVar(&s.only, "only", nil,
		"run in a namespace, a new one unless --namespace names it, in which nothing of the ones around it exists but these; "+
			"more NAMEs may follow, up to the --")
}

// complete takes the names that follow --only, checks what was asked for, and returns the command.
func (s *space) complete(flags *pflag.FlagSet, args []string) (command []string, err error) {
	s.sealed = flags.Changed("only")
	if s.sealed && flags.ArgsLenAtDash() < 0 { // else the names are complete, and args are the command
		dash := slices.Index(args, "--")
		if dash < 0 || dash == len(args)-1 {
			return nil, usagef("run --only NAME… wants -- and a COMMAND behind the names (switchboard run --help)")
		}
		s.only, args = append(s.only, args[:dash]...), args[dash+1:]
	}
	for _, n := range s.only {
		if strings.HasPrefix(n, "-") {
			return nil, usagef("%s stands among the names of --only: flags come before them", n)
		}
		if err := name.Check(n); err != nil {
			return nil, &usageError{err}
		}
	}
	if s.namespace != "" && s.subset {
		return nil, usagef("--namespace and --subset: it is one or the other")
	}
	if s.namespace == "" && (s.subset || s.sealed) {
		// Not by the process' id alone: another pid namespace may have the same.
		s.namespace = fmt.Sprintf("run.%d.%s", os.Getpid(), strings.ToLower(rand.Text()[:6]))
	}
	return args, nil
}

// openDoor gets a descriptor that leads a child to the broker: into the namespace, or where we are without one.
func (s *space) openDoor(ctx context.Context, client *switchboard.Client) (*os.File, error) {
	if s.namespace == "" {
		return client.Door(ctx)
	}
	var opts []switchboard.NamespaceOption
	if s.sealed {
		opts = append(opts, switchboard.Sealed(s.only...))
	}
	n, err := client.Namespace(ctx, s.namespace, opts...)
	if err != nil {
		return nil, err
	}
	return n.Door(ctx) // the namespace lasts as long as the client's session
}

// childEnvironment is ours with the ways to the broker: the numbers of the door's descriptors, for sessions and for Mach messages.
func (a *app) childEnvironment(s space, door [2]int) ([]string, error) {
	dir, err := a.folder()
	if err != nil {
		return nil, err
	}
	env := append(os.Environ(),
		switchboard.EnvSessionFD+"="+strconv.Itoa(door[0]),
		switchboard.EnvBootstrapFD+"="+strconv.Itoa(door[1]))
	if a.runtimeDir != "" {
		env = append(env, switchboard.EnvRuntimeDir+"="+dir)
	}
	switch {
	case s.namespace != "":
		// The path leads to the root.
		env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, switchboard.EnvBootstrap+"=") })
	case a.inside(): // where we are is as good for the command
	default:
		env = append(env, switchboard.EnvBootstrap+"="+filepath.Join(dir, bootstrapSocket))
	}
	return env, nil
}
