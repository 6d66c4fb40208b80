// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/frames"
	"github.com/switchboard-ipc/switchboard/python"
)

// demoFrames is how many pictures go to Python and back.
const demoFrames = 300

// pythonFilter answers each picture with one of the same size, whose first bytes are inverted.
const pythonFilter = `import switchboard
link = switchboard.parent()
with link.open("in", lossless=True, last=True) as pictures, link.create("out", pictures.format) as out:
    for picture in pictures:
        with picture, out.loan() as answer:
            answer.planes[0][:4] = bytes(255 - b for b in picture.planes[0][:4])
            answer.answers = picture.id
`

// stepFrames sends pictures of 4K to a child in Python and gets as many back, all in shared memory.
func stepFrames(ctx context.Context, t *tour) (string, error) {
	if runtime.GOOS != "linux" {
		return "", skipped("frames need Linux")
	}
	program, err := exec.LookPath("python3")
	if err != nil {
		return "", skipped("there is no python3 here")
	}
	modules := filepath.Join(t.dir, "python")
	if err := os.CopyFS(modules, python.Files); err != nil {
		return "", err
	}
	cmd := t.command(program, "-c", pythonFilter)
	cmd.Env = append(cmd.Env, "PYTHONPATH="+modules, "PYTHONDONTWRITEBYTECODE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithUs(cmd.SysProcAttr)
	child, err := frames.Child(cmd)
	if err != nil {
		return "", err
	}
	defer child.Close()
	format := frames.Format{FourCC: frames.BGRA, Width: 3840, Height: 2160}
	to, err := child.Create(frames.ToChild, format)
	if err != nil {
		return "", err
	}
	from, err := child.Open(ctx, frames.FromChild, frames.Lossless)
	if err != nil {
		return "", errors.Join(err, child.Wait())
	}
	defer from.Close()
	var took []time.Duration
	began := time.Now()
	for n := range demoFrames {
		sent := time.Now()
		if err := thereAndBack(ctx, to, from, byte(n)); err != nil {
			return "", err
		}
		took = append(took, time.Since(sent))
	}
	rate := demoFrames / time.Since(began).Seconds()
	slices.Sort(took)
	return fmt.Sprintf("%d pictures of 3840x2160 to a child in Python, and as many back: %s a round trip (median), %s a second, none copied",
		demoFrames, micros(took[len(took)/2]), thousands(rate)), nil
}

// thereAndBack sends one picture and checks the answer.
func thereAndBack(ctx context.Context, to *frames.Writer, from *frames.Reader, n byte) error {
	l, err := to.Loan(ctx)
	if err != nil {
		return err
	}
	copy(l.Plane(0), []byte{n, n, n, n})
	id, err := l.PublishID()
	if err != nil {
		return err
	}
	f, err := from.Next(ctx)
	if err != nil {
		return err
	}
	defer f.Release()
	if got := f.Plane(0)[3]; f.Answers != id || got != 255-n {
		return fmt.Errorf("picture %d was answered with %d, which says that it answers %v", n, got, f.Answers)
	}
	return nil
}
