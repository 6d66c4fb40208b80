// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// argv is the program of a language.
func (m *machSide) argv(language string, args ...string) []string {
	if language == "c" {
		return append([]string{m.run["c"]}, args...)
	}
	return append([]string{m.run["python"], filepath.Join(m.folder, "program.py")}, args...)
}

// machResult is what the foreign programs print.
type machResult struct {
	Checks   int
	Numbers  []int
	Sent     any
	Came     int
	Closed   int
	Answered int
	Granted  int
	Refused  int
	Won      []int
	CheckIn  map[string]int `json:"check_in"`
	Register map[string]int
	LookUp   map[string]int `json:"look_up"`
}

// once runs a foreign program to its end.
func (m *machSide) once(t *testing.T, language string, args ...string) (r machResult) {
	t.Helper()
	cmd := m.command(t, m.argv(language, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", language, args, err, out, &stderr)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%s %q printed %q: %v", language, args, out, err)
	}
	return r
}

// machProcess is a foreign program that runs.
type machProcess struct {
	what   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	stderr bytes.Buffer
	ended  bool
}

// start starts a foreign program, which ends with the test.
func (m *machSide) start(t *testing.T, language string, args ...string) *machProcess {
	t.Helper()
	p := &machProcess{what: fmt.Sprintf("%s %q", language, args), cmd: m.command(t, m.argv(language, args...)...)}
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	t.Cleanup(func() {
		if !p.ended {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p
}

// line is the next line that the program prints.
func (p *machProcess) line(t *testing.T) string {
	t.Helper()
	if !p.out.Scan() {
		err := p.cmd.Wait()
		p.ended = true
		t.Fatalf("%s ended: %v\n%s", p.what, err, &p.stderr)
	}
	return p.out.Text()
}

func (p *machProcess) ready(t *testing.T) {
	t.Helper()
	if got := p.line(t); got != "ready" {
		t.Fatalf("%s said %q", p.what, got)
	}
}

// result is the next result that the program prints.
func (p *machProcess) result(t *testing.T) (r machResult) {
	t.Helper()
	line := p.line(t)
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		t.Fatalf("%s printed %q: %v", p.what, line, err)
	}
	return r
}

// goOn sends the program the line that it waits for.
func (p *machProcess) goOn(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(p.in, "go on\n"); err != nil {
		t.Fatalf("%s: %v\n%s", p.what, err, &p.stderr)
	}
}

// end closes the program's input and waits for its end, which must be a good one.
func (p *machProcess) end(t *testing.T) {
	t.Helper()
	_ = p.in.Close()
	err := p.cmd.Wait()
	p.ended = true
	if err != nil {
		t.Errorf("%s ended: %v\n%s", p.what, err, strings.TrimSpace(p.stderr.String()))
	}
}

// kill kills the program and waits for its end.
func (p *machProcess) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait()
	p.ended = true
}

// decodeMach reads a result; one that is none is empty.
func decodeMach(line []byte) (r machResult) {
	_ = json.Unmarshal(line, &r)
	return r
}
