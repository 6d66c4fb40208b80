// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sys

import (
	"bufio"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"testing"
)

const holderVariable = "TEST_HOLDER"

// init plays a process whose first thread ends: it runs before the tests, on that thread.
func init() {
	if os.Getenv(holderVariable) == "" {
		return
	}
	runtime.LockOSThread()
	done := make(chan struct{})
	go func() {
		<-done // the first thread is about to end; this one keeps the process
		os.Stdout.WriteString("ready\n")
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	close(done)
	syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0) // as a call that takes long: else the thread's processor, perhaps the only one, would end with it
}

// holder is a process that holds a socket until its input ends.
type holder struct {
	*exec.Cmd
	pid int
}

// hold starts a process with the socket, in a process group of its own, or in that of another.
func hold(t *testing.T, socket *FD, group int, cmd *exec.Cmd) holder {
	t.Helper()
	fd, err := Dup(socket.Int())
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd.Take()), "socket")
	defer f.Close()
	cmd.ExtraFiles = []*os.File{f, f} // twice: it is listed once
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: group}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("it said %q, %v", line, err)
	}
	return holder{cmd, cmd.Process.Pid}
}

func shell(script string) *exec.Cmd { return exec.Command("/bin/sh", "-c", script) }

func holdersOf(t *testing.T, inodes []uint64, groups []int) Holders {
	t.Helper()
	h, err := SocketHolders(inodes, groups)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// inodeOf returns a socket's inode.
func inodeOf(t *testing.T, fd *FD) uint64 {
	t.Helper()
	inode, err := SocketInode(fd.Int())
	if err != nil {
		t.Fatal(err)
	}
	return inode
}

func TestSocketHolders(t *testing.T) {
	a, b := pair(t, Seqpacket)
	ia, ib := inodeOf(t, a), inodeOf(t, b)
	if ia == ib || ia == 0 {
		t.Fatalf("the ends have inodes %d and %d", ia, ib)
	}
	if h := holdersOf(t, []uint64{ia, ib}, []int{1 << 30}); len(h.Sockets) > 0 || len(h.Groups) > 0 {
		t.Errorf("before anybody holds them: %+v", h)
	}
	first := hold(t, a, 0, shell("echo ready; read x"))
	member := hold(t, b, first.pid, shell("exec 3>&- 4>&-; echo ready; read x")) // of the group, without the socket
	other := hold(t, a, 0, shell("echo ready; read x"))                          // with the socket, in another group
	h := holdersOf(t, []uint64{ia, ib}, []int{first.pid})
	slices.Sort(h.Sockets[ia])
	want := []int{first.pid, other.pid}
	slices.Sort(want)
	if !slices.Equal(h.Sockets[ia], want) || len(h.Sockets[ib]) > 0 {
		t.Errorf("%d and %d hold a, nobody b: %+v", first.pid, other.pid, h)
	}
	members := h.Groups[first.pid]
	slices.Sort(members)
	want = []int{first.pid, member.pid}
	slices.Sort(want)
	if !slices.Equal(members, want) || len(h.Groups) != 1 {
		t.Errorf("%v are of group %d: %+v", want, first.pid, h)
	}

	// A zombie holds nothing, and is in no group.
	first.Process.Kill()
	for { // it is one as soon as it can be waited for
		if _, ok, _ := WaitChild(pidfdOf(t, first.pid), false); ok {
			break
		}
		runtime.Gosched()
	}
	h = holdersOf(t, []uint64{ia}, []int{first.pid})
	if !slices.Equal(h.Sockets[ia], []int{other.pid}) || !slices.Equal(h.Groups[first.pid], []int{member.pid}) {
		t.Errorf("after %d became a zombie: %+v", first.pid, h)
	}
	if h := holdersOf(t, nil, nil); len(h.Sockets)+len(h.Groups) > 0 {
		t.Errorf("nothing was asked for: %+v", h)
	}
}

// pidfdOf opens a pidfd of a child that was not waited for.
func pidfdOf(t *testing.T, pid int) int {
	t.Helper()
	fd, err := PIDFDOpen(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fd.Close() })
	return fd.Int()
}

// A process whose first thread has ended looks like a zombie, and holds what it held.
func TestSocketHoldersWithoutFirstThread(t *testing.T) {
	a, _ := pair(t, Seqpacket)
	inode := inodeOf(t, a)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holderVariable+"=1")
	p := hold(t, a, 0, cmd)
	for {
		if st, err := StatProcess(p.pid); err != nil {
			t.Fatal(err)
		} else if st.State == 'Z' {
			break
		}
		runtime.Gosched()
	}
	h := holdersOf(t, []uint64{inode}, []int{p.pid})
	if !slices.Equal(h.Sockets[inode], []int{p.pid}) || !slices.Equal(h.Groups[p.pid], []int{p.pid}) {
		t.Errorf("process %d goes on: %+v", p.pid, h)
	}
}

// Processes that come and go during a pass do not disturb it.
func TestSocketHoldersAmongRaces(t *testing.T) {
	a, _ := pair(t, Seqpacket)
	inode := inodeOf(t, a)
	p := hold(t, a, 0, shell("echo ready; read x"))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				exec.Command("/bin/true").Run()
			}
		}
	}()
	for range 100 {
		if h := holdersOf(t, []uint64{inode}, []int{p.pid}); !slices.Contains(h.Sockets[inode], p.pid) || !slices.Equal(h.Groups[p.pid], []int{p.pid}) {
			t.Errorf("%d holds it: %+v", p.pid, h)
			break
		}
	}
	close(stop)
	<-done
}

func BenchmarkSocketHolders(b *testing.B) {
	x, y, err := Pair(Seqpacket)
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	defer y.Close()
	inode, _ := SocketInode(x.Int())
	for b.Loop() {
		if _, err := SocketHolders([]uint64{inode}, []int{1 << 30}); err != nil {
			b.Fatal(err)
		}
	}
}
