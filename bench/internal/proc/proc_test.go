// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"context"
	"os"
	"strings"
	"testing"
)

func TestProcessAnswersAndEndsWithItsInput(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	p, err := Start(ctx, []string{"sh", "-c", "echo ready; exec cat"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if p.First != "ready" {
		t.Errorf("the first line is %q", p.First)
	}
	if err := p.Tell(`{"n":%d}`, 7); err != nil {
		t.Fatal(err)
	}
	var v struct{ N int }
	if err := p.Result(ctx, &v); err != nil || v.N != 7 {
		t.Errorf("got %+v, %v", v, err)
	}
	p.Stop()
	p.Stop() // again: nothing
	if _, err := p.Line(ctx); err == nil {
		t.Error("a process that was stopped still speaks")
	}
}

func TestStartSaysWhatTheProcessSaid(t *testing.T) {
	t.Parallel()
	_, err := Start(context.Background(), []string{"sh", "-c", "echo the disk is full >&2; exit 3"}, Options{})
	if err == nil || !strings.Contains(err.Error(), "the disk is full") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got error %v", err)
	}
}

func TestCancelEndsTheProcess(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	p, err := Start(ctx, []string{"sh", "-c", "echo ready; exec cat"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-p.ended
	p.Stop()
}

func TestMemoryOf(t *testing.T) {
	t.Parallel()
	m, err := MemoryOf(os.Getpid())
	if err != nil {
		t.Skip("SKIPPED: ", err)
	}
	if m.Anonymous <= 0 || m.Resident < m.Anonymous {
		t.Errorf("got %+v", m)
	}
}
