// SPDX-License-Identifier: Apache-2.0

package guesttest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The packages of Debian that a guest is made of. They are only unpacked: installing a kernel would make
// an initramfs and touch the boot loader, and busybox-static would replace busybox.
const (
	kernelPackage  = "linux-image-cloud-amd64" // depends on the newest kernel's package
	busyboxPackage = "busybox-static"
)

// patience with the package archive, and with unpacking.
const patience = 3 * time.Minute

// unpackPackage downloads a package with apt-get, without installing it, and unpacks the files of it that patterns of tar name.
func unpackPackage(work, to, name string, patterns ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if name == kernelPackage {
		concrete, err := dependency(ctx, name)
		if err != nil {
			return err
		}
		name = concrete
	}
	arguments := []string{"download", "-qq", name}
	if os.Geteuid() == 0 {
		// apt would warn that its own user cannot write here.
		arguments = append(arguments, "-o", "APT::Sandbox::User=root")
	}
	if _, err := output(ctx, to, "apt-get", arguments...); err != nil {
		return fmt.Errorf("cannot download the package %s: %w", name, err)
	}
	packages, _ := filepath.Glob(filepath.Join(to, "*.deb"))
	if len(packages) != 1 {
		return fmt.Errorf("no package %s came", name)
	}
	// A few files of a hundred megabytes: tar takes them out of dpkg-deb's stream.
	script := `dpkg-deb --fsys-tarfile "$1" | { shift; tar -x --wildcards "$@" 2>tar.log || [ -e tar.log ]; }`
	if _, err := output(ctx, to, "sh", append([]string{"-c", script, "sh", packages[0]}, patterns...)...); err != nil {
		return fmt.Errorf("cannot unpack the package %s: %w", name, err)
	}
	return nil
}

// dependency is the package that a package without content stands for. An apt without lists knows neither;
// root has it fetch them, once.
func dependency(ctx context.Context, name string) (string, error) {
	for attempt := 0; ; attempt++ {
		out, err := output(ctx, "", "apt-cache", "depends", "--important", name)
		for line := range strings.Lines(out) {
			if _, concrete, found := strings.Cut(strings.TrimSpace(line), "Depends: linux-image-"); found {
				return "linux-image-" + concrete, nil
			}
		}
		if attempt > 0 || os.Geteuid() != 0 {
			return "", fmt.Errorf("apt knows no package %s (apt-get update?): %w", name, err)
		}
		if _, err := output(ctx, "", "apt-get", "update", "-qq"); err != nil {
			return "", err
		}
	}
}

// output runs a program in a folder; its error has what the program said.
func output(ctx context.Context, dir, program string, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, arguments...)
	cmd.Dir = dir
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w: %s", program, strings.Join(arguments[:1], " "), err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}
