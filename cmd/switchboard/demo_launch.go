// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/switchboard-ipc/switchboard"
)

// stepLaunch calls a name that nobody has, and brings the command along.
func stepLaunch(ctx context.Context, t *tour) (string, error) {
	if err := t.nobodyHas(ctx, demoCalled); err != nil {
		return "", err
	}
	words := t.program("owner", demoCalled)
	command := switchboard.Launch(exec.Command(words[0], words[1:]...))
	dial := func() (net.Conn, error) { return t.client.Dial(ctx, demoCalled, command) }
	first, err := timeCall(dial)
	if err != nil {
		return "", err
	}
	entry, err := t.client.LookUp(ctx, demoCalled)
	if err != nil {
		return "", err
	}
	t.launched(entry.PID)
	again, err := timeCall(dial)
	if err != nil {
		return "", err
	}
	c, err := dial()
	if err != nil {
		return "", err
	}
	defer c.Close()
	_, pid, err := answeredBy(c, "hello")
	if err != nil {
		return "", err
	}
	if pid != entry.PID {
		return "", fmt.Errorf("pid %d was launched, and pid %d answers", entry.PID, pid)
	}
	return fmt.Sprintf("nobody had the name: its first caller had it launched (pid %d), and the first byte after %s; the next after %s",
		pid, millis(first), millis(again)), nil
}

// stepOnce lets 64 callers, each with a session of its own, call one name at the same moment that nobody has yet, and
// sees that it was launched once.
func stepOnce(ctx context.Context, t *tour) (string, error) {
	if err := t.define(demoOnce, "", t.program("owner", demoOnce), nil); err != nil {
		return "", err
	}
	if err := t.nobodyHas(ctx, demoOnce); err != nil {
		return "", err
	}
	answered, took, err := t.callTogether(ctx, demoOnce)
	if err != nil {
		return "", err
	}
	slices.Sort(answered)
	if pids := slices.Compact(answered); len(pids) != 1 {
		return "", fmt.Errorf("%d processes answered, and not one: %v", len(pids), pids)
	}
	entry, err := t.client.LookUp(ctx, demoOnce)
	if err != nil {
		return "", err
	}
	t.launched(entry.PID)
	if answered[0] != entry.PID {
		return "", fmt.Errorf("pid %d answered all, and the broker launched %d", answered[0], entry.PID)
	}
	// One that was launched in vain answers nobody, but it writes to the log.
	log, err := t.output(ctx, t.command(t.self, "logs", demoOnce))
	if err != nil {
		return "", err
	}
	if n := strings.Count(log, "listening as "+demoOnce); n != 1 {
		return "", fmt.Errorf("it was launched %d times, and not once:\n%s", n, log)
	}
	return fmt.Sprintf("%d callers at once of a name that did not run: one launch, all answered by pid %d after %.0f ms",
		demoCallers, entry.PID, float64(took.Microseconds())/1000), nil
}

// callTogether lets 64 callers call a name at the same moment. It returns the pids that answered, and how long it took.
func (t *tour) callTogether(ctx context.Context, name string) (answered []int, took time.Duration, err error) {
	answered, errs := make([]int, demoCallers), make([]error, demoCallers)
	gate := make(chan struct{})
	var ready, done sync.WaitGroup
	for i := range demoCallers {
		ready.Add(1)
		done.Go(func() {
			client := t.newClient()
			defer client.Close()
			_, err := client.Status(ctx) // it has its session before the moment comes
			ready.Done()
			if err != nil {
				errs[i] = err
				return
			}
			<-gate
			c, err := client.Dial(ctx, name)
			if err != nil {
				errs[i] = err
				return
			}
			defer c.Close()
			_, answered[i], errs[i] = answeredBy(c, "hello")
		})
	}
	ready.Wait()
	began := time.Now()
	close(gate)
	done.Wait()
	return answered, time.Since(began), errors.Join(errs...)
}

// The program of stepFailure.
const (
	demoReason = "cannot find its configuration" // what it says
	demoStatus = 3                               // how it ends
	demoWait   = "5s"                            // until the next try: long enough for a slow machine
)

// notTriedFor finds when a start is tried again in what the next caller is told.
var notTriedFor = regexp.MustCompile(`not tried again for [0-9.]+ ?(ms|s)`)

// stepFailure calls a name whose program fails, and sees that the callers are told how, and when to try again.
func stepFailure(ctx context.Context, t *tour) (string, error) {
	err := t.define(demoBroken, "", t.program("failing", demoBroken), map[string]any{
		"ready": "notify", "restart": map[string]string{"min": demoWait, "max": demoWait},
	})
	if err != nil {
		return "", err
	}
	exited := fmt.Sprintf("exited with status %d", demoStatus)
	if err := refusedAs(t.dialError(ctx, demoBroken), switchboard.CodeUnavailable, exited, demoReason); err != nil {
		return "", err
	}
	again := t.dialError(ctx, demoBroken)
	if err := refusedAs(again, switchboard.CodeTryAgain, exited, demoReason); err != nil {
		return "", err
	}
	when := notTriedFor.FindString(again.Error())
	if when == "" {
		return "", fmt.Errorf("the next caller is not told when to try again: %w", again)
	}
	return fmt.Sprintf("its caller is told: %s, last output %q (code %d); the next one: %s (code %d)", exited, demoReason,
		switchboard.CodeUnavailable, when, switchboard.CodeTryAgain), nil
}

// dialError calls a name and returns how that failed.
func (t *tour) dialError(ctx context.Context, name string) error {
	c, err := t.client.Dial(ctx, name)
	if err == nil {
		c.Close()
	}
	return err
}

// refusedAs sees that err has a code and a text that has some parts.
func refusedAs(err error, code switchboard.Code, parts ...string) error {
	var refusal *switchboard.Error
	switch {
	case err == nil:
		return fmt.Errorf("the call ended well, and not with code %d", code)
	case !errors.As(err, &refusal) || refusal.Code != code:
		return fmt.Errorf("the call ended with an error that has not code %d: %w", code, err)
	}
	for _, part := range parts {
		if !strings.Contains(refusal.Text, part) {
			return fmt.Errorf("the caller is not told %q: %w", part, err)
		}
	}
	return nil
}

// stepVersions defines a second version of a service while somebody is connected to the first.
func stepVersions(ctx context.Context, t *tour) (string, error) {
	const older, newer = "1.4.0", "2.0.0"
	if err := t.defineVersion(older); err != nil {
		return "", err
	}
	early, err := t.client.Dial(ctx, demoVersions)
	if err != nil {
		return "", err
	}
	defer early.Close()
	pidOld, err := t.versionIs(ctx, early, older)
	if err != nil {
		return "", fmt.Errorf("with %s alone: %w", older, err)
	}
	if err := t.defineVersion(newer); err != nil {
		return "", err
	}
	newcomer, err := t.client.Dial(ctx, demoVersions)
	if err != nil {
		return "", err
	}
	defer newcomer.Close()
	pidNew, err := t.versionIs(ctx, newcomer, newer)
	if err != nil {
		return "", fmt.Errorf("a newcomer: %w", err)
	}
	narrow, err := t.client.Dial(ctx, demoVersions, switchboard.WithVersion("^1"))
	if err != nil {
		return "", err
	}
	defer narrow.Close()
	pidNarrow, err := t.versionIs(ctx, narrow, older)
	if err != nil {
		return "", fmt.Errorf("a caller that wants ^1: %w", err)
	}
	pidStays, err := t.versionIs(ctx, early, older)
	if err != nil {
		return "", fmt.Errorf("who was connected to %s: %w", older, err)
	}
	if pidNarrow != pidOld || pidStays != pidOld || pidNew == pidOld {
		return "", fmt.Errorf("pid %d was %s; then pid %d answered who was connected, pid %d ^1, and pid %d the newcomer",
			pidOld, older, pidStays, pidNarrow, pidNew)
	}
	return fmt.Sprintf("%s is added while %s (pid %d) has a caller, who stays there; a newcomer gets %[1]s (pid %[4]d), ^1 still %[2]s",
		newer, older, pidOld, pidNew), nil
}

// defineVersion defines a program that answers with its version.
func (t *tour) defineVersion(version string) error {
	return t.define(demoVersions, version, t.program("sayer", demoVersions, version), nil)
}

// versionIs asks a program of defineVersion for its version, and returns its pid.
func (t *tour) versionIs(ctx context.Context, c net.Conn, version string) (pid int, err error) {
	answer, pid, err := answeredBy(c, "who?")
	if err != nil {
		return 0, err
	}
	entry, err := t.client.LookUp(ctx, demoVersions, switchboard.WithVersion(version))
	if err != nil {
		return 0, err
	}
	t.launched(entry.PID)
	if answer != version || entry.PID != pid {
		return 0, fmt.Errorf("pid %d answered %q, and %s is pid %d", pid, answer, version, entry.PID)
	}
	return pid, nil
}

// answeredBy says something to a service and returns what it answers, and its pid as the kernel has it.
func answeredBy(c net.Conn, word string) (answer string, pid int, err error) {
	if err := c.SetDeadline(time.Now().Add(stepLimit)); err != nil {
		return "", 0, err
	}
	who, err := switchboard.Peer(c)
	if err != nil {
		return "", 0, err
	}
	defer who.Close()
	if _, err := c.Write([]byte(word)); err != nil {
		return "", 0, err
	}
	buffer := make([]byte, 64)
	n, err := c.Read(buffer)
	if err != nil {
		return "", 0, fmt.Errorf("cannot read the answer: %w", err)
	}
	return string(buffer[:n]), who.PID, nil
}
