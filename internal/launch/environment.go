// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"sort"
	"strings"
)

// The search path of a backend where its broker has none.
const (
	userPath = "/usr/local/bin:/usr/bin:/bin"
	rootPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// Setting is what a backend's environment is made from.
type Setting struct {
	Broker []string // the broker's own environment, "K=V"
	User   User     // as whom it runs, from the user database
	Other  bool     // that is another user than the broker's: nothing of the broker's own home and session is passed on

	Env     []string // declared for it, "K=V"; ${SWITCHBOARD_SOCKET} and ${SCOPE} are filled in
	Fixed   []string // likewise, as they are
	PassEnv []string // names whose values are the broker's; those that it has not are left out

	RuntimeDir string // of the broker
	Name       string // of the service
	Version    string // "" if none
	Instance   string
	Socket     string // the path that it binds, or that is bound for it; "" if none
	Scope      string // the folder, if it is for one
	Notify     string // NOTIFY_SOCKET; "" if it is not asked to notify
	Bootstrap  string // the path of bootstrap.sock; "" if it is not to be found
}

// Environment returns the clean environment of a backend, sorted, each name once: HOME, USER, LOGNAME, SHELL, PATH, LANG, TZ and XDG_* ; over
// them what its definition says; over that the SWITCHBOARD_* names and NOTIFY_SOCKET. LISTEN_* is added by the shim.
func Environment(s Setting) []string {
	broker := make(map[string]string, len(s.Broker))
	for _, kv := range s.Broker {
		if k, v, ok := strings.Cut(kv, "="); ok {
			broker[k] = v
		}
	}
	env := make(map[string]string)
	put := func(k, v string) {
		if v != "" {
			env[k] = v
		}
	}
	put("HOME", s.User.Home)
	put("USER", s.User.Name)
	put("LOGNAME", s.User.Name)
	put("SHELL", s.User.Shell)
	env["PATH"] = userPath
	if s.User.UID == 0 {
		env["PATH"] = rootPath
	}
	put("LANG", broker["LANG"])
	put("TZ", broker["TZ"])
	if !s.Other {
		for _, k := range []string{"HOME", "USER", "LOGNAME", "SHELL", "PATH"} {
			put(k, broker[k])
		}
		for k, v := range broker {
			if strings.HasPrefix(k, "XDG_") {
				env[k] = v
			}
		}
	}
	for _, k := range s.PassEnv {
		if v, ok := broker[k]; ok {
			env[k] = v
		}
	}
	for _, kv := range s.Env {
		if k, v, ok := strings.Cut(kv, "="); ok {
			env[k] = Expand(v, s.Socket, s.Scope)
		}
	}
	for _, kv := range s.Fixed {
		if k, v, ok := strings.Cut(kv, "="); ok {
			env[k] = v
		}
	}
	put("SWITCHBOARD_RUNTIME_DIR", s.RuntimeDir)
	put("SWITCHBOARD_NAME", s.Name)
	put("SWITCHBOARD_VERSION", s.Version)
	put("SWITCHBOARD_INSTANCE", s.Instance)
	put("SWITCHBOARD_SOCKET", s.Socket)
	put("SWITCHBOARD_SCOPE", s.Scope)
	put("SWITCHBOARD_BOOTSTRAP", s.Bootstrap)
	put("NOTIFY_SOCKET", s.Notify)
	list := make([]string, 0, len(env))
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	sort.Strings(list)
	return list
}
