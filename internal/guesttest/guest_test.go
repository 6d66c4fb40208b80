// SPDX-License-Identifier: Apache-2.0

package guesttest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pair is a connected pair of stream sockets: a guest's, and the test's.
func pair(t *testing.T) (guest *os.File, ours net.Conn) {
	t.Helper()
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		syscall.ForkLock.RUnlock()
		t.Fatal(err)
	}
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	syscall.ForkLock.RUnlock()
	guest = os.NewFile(uintptr(fds[0]), "guest")
	file := os.NewFile(uintptr(fds[1]), "ours")
	defer file.Close()
	if ours, err = net.FileConn(file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { guest.Close(); ours.Close() })
	return guest, ours
}

// A guest does what it is told, answers with output and status, and its frames are on the stream: four bytes of length each.
func TestGuest(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stream, ours := pair(t)
	g := Start(t, Options{Stream: stream, MAC: "52:54:00:aa:bb:cc", Static: "192.0.2.2/24", Commands: []string{"echo said early"}})
	stream.Close()

	broadcast := make(chan []byte, 1)
	go func() {
		defer close(broadcast)
		for {
			var length uint32
			if binary.Read(ours, binary.BigEndian, &length) != nil {
				return
			}
			frame := make([]byte, length)
			if _, err := io.ReadFull(ours, frame); err != nil {
				return
			}
			// ARP's question for 192.0.2.1, from the guest's address.
			if len(frame) >= 42 && bytes.Equal(frame[12:14], []byte{8, 6}) && bytes.Equal(frame[38:42], []byte{192, 0, 2, 1}) {
				broadcast <- frame
				return
			}
		}
	}()

	network := g.Ready(ctx)
	t.Logf("%s: booted after %v, ready after %v", accelerator(), network.Booted, network.Ready)
	if network.Address.String() != "192.0.2.2/24" {
		t.Errorf("the guest has %v", network.Address)
	}
	g.Expect(ctx, "said early")
	if out := g.Run(ctx, "printf 'a\\n\\nb'; exit 0"); out != "a\n\nb" {
		t.Errorf("output %q", out)
	}
	if out, status := g.Try(ctx, "echo no; exit 3"); out != "no" || status != 3 {
		t.Errorf("output %q, status %d", out, status)
	}
	if out, status := g.Try(ctx, "ping -c 1 -W 1 192.0.2.1"); status == 0 {
		t.Errorf("somebody answered: %s", out)
	}
	select {
	case frame, ok := <-broadcast:
		if want := []byte{0x52, 0x54, 0, 0xaa, 0xbb, 0xcc}; !ok || !bytes.Equal(frame[6:12], want) {
			t.Errorf("frame %x", frame)
		}
	case <-ctx.Done():
		t.Error("no ARP of the guest's was on the stream")
	}
	g.Kill()
	<-g.Ended()
	if code := g.ExitCode(); code != -1 {
		t.Errorf("a killed QEMU ended with %d", code)
	}
	// What the guest sent since is still there; then the stream ends.
	ours.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, ours); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the stream outlives its guest")
	}
}

// The command before QEMU's own gives the network, and QEMU's end is the command's.
func TestGuestOfCommand(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	wrapper := `for word do shift; case $word in %NETDEV*) word=user,restrict=on${word#%NETDEV} ;; *mac=%MAC) word=${word%\%MAC}52:54:00:01:02:03 ;; esac
set -- "$@" "$word"; done; echo "as $(id -u) in $HOME" >&2; "$@"; exit 7`
	g := Start(t, Options{Command: []string{"sh", "-c", wrapper, "sh"}, Env: []string{"HOME=" + os.TempDir()}})
	network := g.Ready(ctx)
	if network.Address.String() != "10.0.2.15/24" || network.Lease <= 0 {
		t.Errorf("network %+v", network)
	}
	if out := g.Run(ctx, "cat /sys/class/net/eth0/address"); out != "52:54:00:01:02:03" {
		t.Errorf("the interface's address is %s", out)
	}
	if line := g.Expect(ctx, "as "); os.Getuid() == 0 && !strings.Contains(line, "as 65534 in "+os.TempDir()) {
		t.Errorf("the command ran %s", line)
	}
	g.Kill()
	if code := g.ExitCode(); code != 7 {
		t.Errorf("the command ended with %d", code)
	}
}
