// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestReadme runs what the README shows for other languages, as it stands there.
func TestReadme(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "## From any other language")
	if !found {
		t.Fatal("the README has lost its section on other languages")
	}
	dir := testDir(t)
	startOwner(t, dir, "com.example.up", command(t, dir, "listen", "com.example.up", "--", "tr", "a-z", "A-Z"))
	for _, language := range []struct{ name, needs, interpreter, flag string }{
		{"sh", "nc", "sh", "-c"},
		{"python", "python3", "python3", "-c"},
		{"js", "node", "node", "-e"},
	} {
		if _, err := exec.LookPath(language.needs); err != nil {
			t.Logf("SKIPPED: %s is not installed (make deps)", language.needs)
			continue
		}
		_, code, found := strings.Cut(section, "```"+language.name+"\n")
		code, _, closed := strings.Cut(code, "```\n")
		if !found || !closed {
			t.Errorf("the README has no example in %s", language.name)
			continue
		}
		out, err := otherCommand(t, dir, language.interpreter, language.flag, code).Output()
		if err != nil || !strings.Contains(string(out), "HELLO\n") {
			t.Errorf("the example in %s printed %q (%v)", language.name, out, err)
		}
	}
}
