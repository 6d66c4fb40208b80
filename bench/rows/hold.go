// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"fmt"
	"strconv"

	"github.com/switchboard-ipc/switchboard"
)

// group is a set of names: of so many sessions, so many each.
type group struct {
	folder   string
	prefix   string
	sessions int
	names    int
}

// parseGroup reads FOLDER PREFIX SESSIONS NAMES.
func parseGroup(r *role) (g group, err error) {
	if err := r.need(4); err != nil {
		return g, err
	}
	g.folder, g.prefix = r.args[0], r.args[1]
	if g.sessions, err = strconv.Atoi(r.args[2]); err != nil {
		return g, err
	}
	if g.names, err = strconv.Atoi(r.args[3]); err != nil {
		return g, err
	}
	if g.sessions < 1 || g.names < 1 {
		return g, fmt.Errorf("%d sessions with %d names: both must be at least 1", g.sessions, g.names)
	}
	return g, nil
}

// args are what parseGroup reads.
func (g group) args(role string) []string {
	return []string{role, g.folder, g.prefix, strconv.Itoa(g.sessions), strconv.Itoa(g.names)}
}

// name is the name number n of session s.
func (g group) name(s, n int) string {
	return fmt.Sprintf("%s.s%d.n%d", g.prefix, s, n)
}

// client makes a client of the broker in the folder, which starts none.
func client(folder string) *switchboard.Client {
	return switchboard.New(switchboard.Config{RuntimeDir: folder, NoAutostart: true})
}

// holdRole has the names of a group until its input ends.
func holdRole(ctx context.Context, r *role) error {
	g, err := parseGroup(r)
	if err != nil {
		return err
	}
	for s := range g.sessions {
		c := client(g.folder)
		defer c.Close() // at the end of the role, all together
		for n := range g.names {
			if _, err := c.Listen(ctx, g.name(s, n)); err != nil {
				return err
			}
		}
	}
	r.ready()
	r.wait()
	return nil
}
