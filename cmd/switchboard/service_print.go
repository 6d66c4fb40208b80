// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// printServices prints the table of service ls.
func printServices(out io.Writer, all []service) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "no definitions")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tVERSION\tACCEPT\tSCOPE\tSTATE\tPID\tFILE")
	for _, s := range all {
		if s.Error != "" {
			fmt.Fprintf(table, "%s\t%s\t-\t-\tinvalid\t-\t%s\n", dash(s.Name), dash(s.Version), s.Error)
			continue
		}
		state, pids := s.summary()
		if s.File == "" {
			fmt.Fprintf(table, "%s\t%s\t-\t-\t%s\t%s\tno definition: %s\n", s.Name, dash(s.Version), dash(state), dash(pids), s.Instances[0].Command)
			continue
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, dash(s.Version), s.Accept, s.Scope, dash(state), dash(pids), s.File)
	}
	return table.Flush()
}

// summary says in two words what runs: "active", or "2 active, 1 starting"; and the processes.
func (s service) summary() (state, pids string) {
	var states, ids []string
	count := make(map[string]int)
	for _, i := range s.Instances {
		if count[i.State] == 0 {
			states = append(states, i.State)
		}
		count[i.State]++
		if i.PID != 0 {
			ids = append(ids, strconv.Itoa(i.PID))
		}
	}
	if len(s.Instances) > 1 {
		for i, state := range states {
			states[i] = fmt.Sprintf("%d %s", count[state], state)
		}
	}
	return strings.Join(states, ", "), strings.Join(ids, ",")
}

// showServices prints what service show tells.
func showServices(out io.Writer, all []service) error {
	for i, s := range all {
		text := s.text()
		if i > 0 {
			text = "\n" + text
		}
		if _, err := io.WriteString(out, text); err != nil {
			return err
		}
	}
	return nil
}

func (s service) text() string {
	var b strings.Builder
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-15s%s\n", key, value)
		}
	}
	line("name", s.Name)
	line("version", s.Version)
	line("file", s.File)
	if s.Error != "" {
		line("invalid", s.Error)
		return b.String()
	}
	if s.File == "" {
		line("file", "none: a command on the spot, or its definition has changed")
		for _, i := range s.Instances {
			line("runs now", i.text()+": "+i.Command)
		}
		return b.String()
	}
	line("runs", commandLine(s.Exec))
	line("in", s.folder())
	line("as user", s.User)
	line("env", commandLine(s.Env))
	line("pass env", commandLine(s.PassEnv))
	line("accept", s.Accept)
	line("ports", commandLine(s.Ports))
	switch s.Launch {
	case "lookup":
		line("launched by", "the first look-up of a port")
	case "message":
		line("launched by", "the first message to a port")
	}
	line("ready", s.readiness())
	line("scope", s.Scope)
	line("project has", commandLine(s.Markers))
	line("idle stop", never(s.IdleStop))
	line("start timeout", s.StartTimeout)
	line("stop timeout", s.StopTimeout)
	if s.RestartMin != "" {
		line("restart", s.RestartMin+" to "+s.RestartMax)
	}
	if len(s.Instances) == 0 {
		line("runs now", "no")
	}
	for _, i := range s.Instances {
		line("runs now", i.text())
	}
	if s.Failure != "" {
		line("failed", strings.ReplaceAll(s.Failure, "\n", "\n"+strings.Repeat(" ", 15)))
		line("tried again", retry(s.RetryIn))
	}
	return b.String()
}

func (i instance) text() string {
	return strings.TrimRight(fmt.Sprintf("pid %d, %s, since %s %s", i.PID, i.State, i.Since, i.Scope), " ")
}

// retry says when a service that failed is tried again.
func retry(in string) string {
	if in == "" {
		return "by the next caller"
	}
	return "in " + in
}

// folder is where the command runs.
func (s service) folder() string {
	switch {
	case s.Dir != "":
		return s.Dir
	case s.Scope == scopeOfProject:
		return "the project folder of the caller"
	}
	return "/"
}

// readiness says when callers get through.
func (s service) readiness() string {
	switch {
	case s.Ready == "notify":
		return "when it says READY=1"
	case s.Accept == "path":
		return "when it listens at $SWITCHBOARD_SOCKET"
	case s.Accept == "native":
		return "when it has called Listen"
	case s.Accept == foreignAccept:
		return "when it has answered a probe"
	}
	return "when it is executed"
}
