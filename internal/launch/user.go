// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// User is one user of the user database.
type User struct {
	Name        string // "" if the database does not know the id
	UID, GID    int
	Groups      []int // supplementary ones, the own group among them
	Home, Shell string
}

// LookupUser finds a user by name or decimal id: in /etc/passwd, then wherever else the system keeps them.
func LookupUser(who string) (User, error) {
	return lookupUser("/etc/passwd", "/etc/group", who)
}

// OwnUser is the user of this process; one that the database does not know has an id only.
func OwnUser() User {
	u, err := LookupUser(strconv.Itoa(os.Geteuid()))
	if err != nil {
		return User{UID: os.Geteuid(), GID: os.Getegid(), Groups: []int{os.Getegid()}, Home: "/", Shell: "/bin/sh"}
	}
	return u
}

func lookupUser(passwd, group, who string) (User, error) {
	var u User
	found := false
	err := lines(passwd, 7, func(f []string) bool {
		uid, err1 := strconv.Atoi(f[2])
		gid, err2 := strconv.Atoi(f[3])
		if err1 == nil && err2 == nil && (f[0] == who || f[2] == who) {
			u = User{Name: f[0], UID: uid, GID: gid, Groups: []int{gid}, Home: f[5], Shell: f[6]}
			found = true
		}
		return !found
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return User{}, fmt.Errorf("cannot look up the user %q: %w", who, err)
	}
	if !found {
		return lookupElsewhere(who)
	}
	if u.Shell == "" {
		u.Shell = "/bin/sh"
	}
	err = lines(group, 4, func(f []string) bool {
		gid, err := strconv.Atoi(f[2])
		if err != nil || gid == u.GID {
			return true
		}
		for m := range strings.SplitSeq(f[3], ",") {
			if m == u.Name {
				u.Groups = append(u.Groups, gid)
				break
			}
		}
		return true
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return User{}, fmt.Errorf("cannot look up the groups of the user %q: %w", who, err)
	}
	return u, nil
}

// lookupElsewhere asks the C library, where the program was built with it.
func lookupElsewhere(who string) (User, error) {
	found, err := user.Lookup(who)
	if err != nil {
		found, err = user.LookupId(who)
	}
	if err != nil {
		return User{}, fmt.Errorf("there is no user %q on this system: name one that exists", who)
	}
	u := User{Name: found.Username, Home: found.HomeDir, Shell: "/bin/sh"}
	var err1, err2 error
	u.UID, err1 = strconv.Atoi(found.Uid)
	u.GID, err2 = strconv.Atoi(found.Gid)
	if err1 != nil || err2 != nil {
		return User{}, fmt.Errorf("the user %q has no ids that are numbers", who)
	}
	u.Groups = []int{u.GID}
	ids, err := found.GroupIds()
	if err != nil {
		return User{}, fmt.Errorf("cannot look up the groups of the user %q: %w", who, err)
	}
	for _, s := range ids {
		if gid, err := strconv.Atoi(s); err == nil && gid != u.GID {
			u.Groups = append(u.Groups, gid)
		}
	}
	return u, nil
}

// lines calls f with the fields of each line of a colon-separated file that has enough of them, while it returns true.
func lines(path string, fields int, f func([]string) bool) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	s := bufio.NewScanner(file)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if parts := strings.Split(s.Text(), ":"); len(parts) >= fields && !f(parts) {
			break
		}
	}
	return s.Err()
}
