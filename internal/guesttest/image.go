// SPDX-License-Identifier: Apache-2.0

package guesttest

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// cacheVariable names a folder for the kernel and busybox, instead of the one that cacheFolder takes.
const cacheVariable = "SWITCHBOARD_GUEST_CACHE"

// What a cached image has. The folder's name ends with the layout's version.
const (
	imageFolder   = "guest-1"
	kernelFile    = "vmlinuz"
	busyboxFile   = "busybox"
	modulesFolder = "modules"
	orderFile     = "order"
)

// image is a folder with a kernel, a static busybox and the modules, complete once it has its name.
type image struct{ folder string }

func (m *image) kernel() string { return filepath.Join(m.folder, kernelFile) }

// findImage returns the cached image, or makes it; once for all tests of a process.
var findImage = sync.OnceValues(func() (*image, error) {
	cache, err := cacheFolder()
	if err != nil {
		return nil, err
	}
	m := &image{filepath.Join(cache, imageFolder)}
	if _, err := os.Stat(m.kernel()); err == nil {
		return m, nil
	}
	work, err := os.MkdirTemp(cache, "making")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	made := filepath.Join(work, imageFolder)
	if err := os.MkdirAll(filepath.Join(made, modulesFolder), 0o755); err != nil {
		return nil, err
	}
	if err := errors.Join(provideKernel(work, made), provideBusybox(work, made)); err != nil {
		return nil, err
	}
	// Another process may have been as quick: theirs is as good.
	if err := os.Rename(made, m.folder); err != nil {
		if _, there := os.Stat(m.kernel()); there != nil {
			return nil, err
		}
	}
	return m, nil
})

// cacheFolder is where the image stays between runs, readable for the guests' user. Root's own
// cache is not, so root's is in /var/cache. What somebody else could write is refused: QEMU runs what is in it.
func cacheFolder() (string, error) {
	dir := os.Getenv(cacheVariable)
	if dir == "" {
		parent := "/var/cache"
		if os.Geteuid() != 0 {
			var err error
			if parent, err = os.UserCacheDir(); err != nil {
				return "", err
			}
		}
		dir = filepath.Join(parent, "switchboard-guesttest")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("%s is not a folder that only its owner can write to (%s names another)", dir, cacheVariable)
	}
	return dir, nil
}

// provideKernel takes an installed Debian kernel, or that of the package.
func provideKernel(work, to string) error {
	installed, _ := filepath.Glob("/boot/vmlinuz-*-cloud-amd64")
	for _, kernel := range installed {
		version := strings.TrimPrefix(filepath.Base(kernel), "vmlinuz-")
		if takeKernel("/", version, to) == nil {
			return nil
		}
	}
	root := filepath.Join(work, "kernel")
	if err := unpackPackage(work, root, kernelPackage, "./boot/vmlinuz-*", "./*lib/modules/*/modules.builtin",
		"./*lib/modules/*/drivers/virtio/*", "./*lib/modules/*/drivers/net/virtio_net.*", "./*lib/modules/*/net/core/failover.*",
		"./*lib/modules/*/drivers/net/net_failover.*"); err != nil {
		return err
	}
	kernels, _ := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if len(kernels) != 1 {
		return fmt.Errorf("no kernel in the package of %s", kernelPackage)
	}
	return takeKernel(root, strings.TrimPrefix(filepath.Base(kernels[0]), "vmlinuz-"), to)
}

// takeKernel copies the kernel last: it is what says that an image is whole.
func takeKernel(root, version, to string) error {
	modules := filepath.Join(root, "lib/modules", version)
	if _, err := os.Stat(modules); err != nil {
		modules = filepath.Join(root, "usr/lib/modules", version) // where Debian 13 and later have them
	}
	order, err := collectModules(modules, filepath.Join(to, modulesFolder))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(to, modulesFolder, orderFile), []byte(strings.Join(order, "\n")), 0o644); err != nil {
		return err
	}
	return copyFile(filepath.Join(root, "boot", "vmlinuz-"+version), filepath.Join(to, kernelFile))
}

// provideBusybox takes an installed static busybox, or that of the package.
func provideBusybox(work, to string) error {
	for _, path := range []string{"/usr/bin/busybox", "/bin/busybox"} {
		if isStatic(path) {
			return copyFile(path, filepath.Join(to, busyboxFile))
		}
	}
	root := filepath.Join(work, "busybox")
	if err := unpackPackage(work, root, busyboxPackage, "./bin/busybox", "./usr/bin/busybox"); err != nil {
		return err
	}
	for _, path := range []string{"bin/busybox", "usr/bin/busybox"} {
		if path = filepath.Join(root, path); isStatic(path) {
			return copyFile(path, filepath.Join(to, busyboxFile))
		}
	}
	return fmt.Errorf("no static busybox in the package %s", busyboxPackage)
}

// isStatic reports whether a program of amd64 needs no loader and no libraries, which the guest has not.
func isStatic(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false
		}
	}
	return f.Machine == elf.EM_X86_64
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}
