// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
)

// The variables that tell COMMAND of its interface.
const (
	envNetdev  = "SWITCHBOARD_NETDEV"
	envFD      = "SWITCHBOARD_FD"
	envMAC     = "SWITCHBOARD_MAC"
	envIP      = "SWITCHBOARD_IP"
	envNetwork = "SWITCHBOARD_NETWORK"
	envHolders = "SWITCHBOARD_NETWORK_HOLDERS"
)

// acquireFor runs a command with an interface, and ends as it does.
func (a *app) acquireFor(ctx context.Context, network string, command []string, f acquireFlags) error {
	path, err := exec.LookPath(command[0])
	if err != nil {
		return cannotRun(command[0], err)
	}
	if f.id == "" {
		f.id = machineID(command[0])
	}
	f.lasting = !f.reconnect // then the interface is nothing without us
	var how string
	if f.reconnect {
		if how, err = reconnectOption(ctx, path); err != nil {
			return err
		}
	}
	interrupt, stop := untilSignal(ctx)
	defer stop()
	client := a.client()
	defer client.Close()
	lease, err := a.acquire(interrupt, client, network, f)
	if err != nil {
		return err
	}
	g := &guest{app: a, client: client, network: network, flags: f, lease: lease}
	defer g.end()
	dir := ""
	if a.runtimeDir != "" {
		if dir, err = a.folder(); err != nil {
			return err
		}
	}
	words := guestWords{runtimeDir: dir, network: network, mac: lease.MAC, ip: lease.IP}
	if f.reconnect {
		if err := g.listen(); err != nil {
			return err
		}
		words.netdev = fmt.Sprintf("stream,addr.type=unix,addr.path=%s,%s", g.path, how)
	} else {
		numbers, err := g.pass()
		if err != nil {
			return err
		}
		words.fd, words.netdev = strconv.Itoa(numbers[0]), netdev(f.kind, numbers[0])
		words.holders = fmt.Sprintf("%d,%d", numbers[1], numbers[2])
	}
	child := exec.Command(path)
	if g.third != nil {
		child.ExtraFiles = []*os.File{g.third}
	}
	child.Args = words.fill(command)
	child.Stdin, child.Stdout, child.Stderr = a.stdin, a.stdout, a.stderr
	child.Env = words.environment()

	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)
	if interrupt.Err() != nil {
		return &codeError{exitTryAgain, fmt.Errorf("interrupted before %q was started", command[0])}
	}
	stop() // from here on signals are the command's
	if err := child.Start(); err != nil {
		return cannotRun(command[0], err)
	}
	g.started()
	return exitLike(waitForwarding(child, signals))
}

// machineID names a guest that was given no id: the command, for this project.
func machineID(command string) string {
	id := filepath.Base(command)
	if here, err := filepath.Abs("."); err == nil {
		id += " " + switchboard.ScopeOf(here)
	}
	printable := strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, id), "?")
	if printable == id && len(id) <= vmnet.MaxID {
		return id
	}
	sum := fmt.Sprintf(" %x", sha256.Sum256([]byte(id))) // what is left out tells guests apart, too
	return strings.ToValidUTF8(printable[:min(len(printable), vmnet.MaxID-len(sum))], "") + sum
}

// netdev is what -netdev of QEMU takes for a descriptor.
func netdev(kind string, fd int) string {
	if kind == switchboard.DatagramInterface {
		return fmt.Sprintf("dgram,local.type=fd,local.str=%d", fd)
	}
	return fmt.Sprintf("stream,addr.type=fd,addr.str=%d", fd)
}

// guestWords are what stands for the placeholders in a command.
type guestWords struct {
	runtimeDir      string // "": where the environment says
	network, netdev string
	fd              string // "" if it has none
	holders         string // the descriptors that hold the lease, for the environment
	mac             net.HardwareAddr
	ip              netip.Addr
}

// fill fills in the placeholders of each word.
func (w *guestWords) fill(command []string) []string {
	r := strings.NewReplacer("%%", "%", "%NETDEV", w.netdev, "%FD", w.fd, "%MAC", w.mac.String(), "%IP", addressText(w.ip))
	filled := make([]string, len(command))
	for i, word := range command {
		filled[i] = word
		if i > 0 {
			filled[i] = r.Replace(word)
		}
	}
	return filled
}

// environment is ours with the same.
func (w *guestWords) environment() []string {
	env := os.Environ()
	if w.runtimeDir != "" {
		env = append(env, envRuntimeDir+"="+w.runtimeDir)
	}
	for _, v := range [][2]string{{envNetwork, w.network}, {envNetdev, w.netdev}, {envFD, w.fd}, {envHolders, w.holders}, {envMAC, w.mac.String()}, {envIP, addressText(w.ip)}} {
		env = append(env, v[0]+"="+v[1]) // the last one counts
	}
	return env
}

// addressText is an address, "" if there is none.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// dotted is a mask such as 255.255.255.0.
func dotted(m net.IPMask) string { return net.IP(m).String() }
