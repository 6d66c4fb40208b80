// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// peersFolder holds the Python client and the C backend of the running-process protocol; they share no code with us.
const peersFolder = "testdata/running-process"

// peerTool finds a program that the peers need, and skips the test without it.
func peerTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIPPED: no %s here: the running-process peers are not tested", name)
	}
	return path
}

// runPeer runs a program in the peers' folder and returns its output; it fails the test unless the exit code is 0.
func runPeer(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = peersFolder
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", filepath.Base(name), args, err, out)
	}
	return string(out)
}

// buildPeerBackend compiles backend.c and returns the program's path. A copy named backend-MODE misbehaves (mode.h).
func buildPeerBackend(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "backend")
	runPeer(t, peerTool(t, "cc"), "-std=c11", "-O2", "-Wall", "-Wextra", "-pthread", "backend.c", "-o", out)
	return out
}

// TestRunningProcessPeerHashes checks BLAKE3 and SHA-256 of the C backend against known values.
func TestRunningProcessPeerHashes(t *testing.T) {
	t.Parallel()
	t.Log(runPeer(t, buildPeerBackend(t), "selftest"))
}

// TestRunningProcessPeerVectors checks the Python client's own codec and rules against the protocol's vectors.
func TestRunningProcessPeerVectors(t *testing.T) {
	t.Parallel()
	vectors, err := filepath.Abs("../../protocol/envelope/testdata/running-process-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(vectors); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("SKIPPED: no %s: the peers' codec is not tested", filepath.Base(vectors))
	} else if err != nil {
		t.Fatal(err)
	}
	t.Log(runPeer(t, peerTool(t, "python3"), "client.py", "selftest", vectors))
}

// TestRunningProcessPeersTogether drives the C backend from Python: probe, modes, handoff; and the client by canned replies.
func TestRunningProcessPeersTogether(t *testing.T) {
	t.Parallel()
	python, backend := peerTool(t, "python3"), buildPeerBackend(t)
	t.Log(runPeer(t, python, "backend_test.py", backend))
	t.Log(runPeer(t, python, "client_test.py", backend))
}
