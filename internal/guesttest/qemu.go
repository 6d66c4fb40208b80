// SPDX-License-Identifier: Apache-2.0

package guesttest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// emulator is QEMU's command; 7.2 is the first that has -netdev stream.
const emulator = "qemu-system-x86_64"

// probePatience is how long KVM may take to boot a guest to its first line. With KVM that is a second; one that hangs is not waited for.
const probePatience = 4 * time.Second

// findEmulator returns the path of a QEMU that is new enough.
var findEmulator = sync.OnceValues(func() (string, error) {
	path, err := exec.LookPath(emulator)
	if err != nil {
		return "", fmt.Errorf("%s is not installed: apt-get install qemu-system-x86 (make deps does)", emulator)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	said, err := output(ctx, "/", path, "--version")
	if err != nil {
		return "", err
	}
	var major, minor int
	if _, err := fmt.Sscanf(said, "QEMU emulator version %d.%d", &major, &minor); err != nil {
		return "", fmt.Errorf("%s --version said %q", path, said)
	}
	if major < 7 || major == 7 && minor < 2 {
		return "", fmt.Errorf("%s is %d.%d, and 7.2 is the first that takes a descriptor as a network", path, major, minor)
	}
	return path, nil
})

// machine returns QEMU's arguments but for the network. The plain pc boots as fast as q35 with Debian's kernel.
func machine(kernel, initrd, accelerator string, life time.Duration) []string {
	processor := "max"
	if accelerator == "kvm" {
		processor = "host"
	}
	line := []string{
		"console=ttyS0", "quiet", "loglevel=3",
		// A panic ends the guest at once, and a reboot without a real BIOS's detours: with -no-reboot both end QEMU.
		"panic=-1", "reboot=t",
		// At boot the kernel spins for ten ticks and panics if it saw too few of them: an emulated machine that is given no time meanwhile.
		"no_timer_check",
		// Nothing here is worth protecting from speculation, and the kernel would spend time on it.
		"mitigations=off", "nokaslr",
		"guest.life=" + strconv.Itoa(int(life.Seconds())),
	}
	return []string{
		"-machine", "pc", "-accel", accelerator, "-cpu", processor, "-smp", "1", "-m", "128",
		// No devices but those named here: the BIOS looks at each, and a default card would be the guest's eth0.
		// Not -nographic, with which the BIOS writes to the serial line too.
		"-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
		// The card's ROM would wait seconds for somebody to press a key.
		"-global", "virtio-net-pci.romfile=",
		"-kernel", kernel, "-initrd", initrd, "-append", strings.Join(line, " "),
	}
}

// accelerator is "kvm" where KVM boots a guest before the deadline for the user whom guests run as, else "tcg".
var accelerator = sync.OnceValue(func() string {
	if probeKVM() {
		return "kvm"
	}
	return "tcg"
})

func probeKVM() bool {
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return false
	}
	qemu, err := findEmulator()
	if err != nil {
		return false
	}
	m, err := findImage()
	if err != nil {
		return false
	}
	dir, err := makeFolder(filepath.Dir(m.folder))
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	initrd, err := m.initramfs("", []string{"reboot -f"})
	if err != nil || os.WriteFile(filepath.Join(dir, "initrd"), initrd, 0o644) != nil {
		return false
	}
	cmd := exec.Command(qemu, machine(m.kernel(), filepath.Join(dir, "initrd"), "kvm", probePatience)...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: Credential(), Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		return false
	}
	lines := newConsole(1)
	go lines.read(out, "")
	ctx, cancel := context.WithTimeout(context.Background(), probePatience)
	defer cancel()
	_, err = lines.find(ctx, 0, func(line string) bool { return strings.HasPrefix(line, "@@ booted") })
	cmd.Process.Kill()
	// One that hangs in the kernel does not end of a signal either, and is not waited for.
	go cmd.Wait()
	return err == nil
}
