// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Holders says who was seen in one pass over /proc.
type Holders struct {
	Sockets map[uint64][]int // who holds a socket, by its inode: process ids, each once; this process is left out
	Groups  map[int][]int    // who lives in a process group, zombies and this process left out
}

// SocketHolders looks, in one pass over /proc, which processes hold the sockets with these inodes (see SocketInode), and which live in
// these process groups. Who ends meanwhile is left out or not; whose descriptors this process may not see (another user's, one that may
// not be traced) is left out, and so are a descriptor that lies unread in a socket, and one that is handed from a process not yet looked
// at to one that was. So nobody found is no proof. A pass costs about 50 µs a process of the machine.
func SocketHolders(inodes []uint64, groups []int) (Holders, error) {
	h := Holders{Sockets: make(map[uint64][]int), Groups: make(map[int][]int)}
	if len(inodes) == 0 && len(groups) == 0 {
		return h, nil
	}
	wanted := make(map[string]uint64, len(inodes))
	for _, inode := range inodes {
		wanted["socket:["+strconv.FormatUint(inode, 10)+"]"] = inode
	}
	proc, err := os.Open("/proc")
	if err != nil {
		return h, err
	}
	defer proc.Close()
	entries, err := proc.Readdirnames(-1)
	if err != nil {
		return h, err
	}
	self := os.Getpid()
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry)
		if err != nil || pid == self {
			continue
		}
		h.look(pid, "/proc/"+entry, wanted, groups)
	}
	return h, nil
}

func (h *Holders) look(pid int, folder string, wanted map[string]uint64, groups []int) {
	stat, err := os.ReadFile(folder + "/stat")
	if err != nil {
		return
	}
	s, ok := parseStat(string(stat))
	if !ok || s.State == 'X' {
		return
	}
	threads := []string{folder}
	if s.State == 'Z' { // its first thread has ended; the others may go on, and have its descriptors
		if threads = livingThreads(folder); len(threads) == 0 {
			return
		}
	}
	if slices.Contains(groups, s.Group) {
		h.Groups[s.Group] = append(h.Groups[s.Group], pid)
	}
	if len(wanted) == 0 {
		return
	}
	for _, thread := range threads {
		for _, inode := range heldBy(thread+"/fd", wanted) {
			if !slices.Contains(h.Sockets[inode], pid) {
				h.Sockets[inode] = append(h.Sockets[inode], pid)
			}
		}
	}
}

// livingThreads returns the folders of one process' threads that have not ended.
func livingThreads(folder string) (living []string) {
	tasks, err := os.ReadDir(folder + "/task")
	if err != nil {
		return nil
	}
	for _, t := range tasks {
		thread := folder + "/task/" + t.Name()
		stat, err := os.ReadFile(thread + "/stat")
		if err != nil {
			continue
		}
		if s, ok := parseStat(string(stat)); ok && s.State != 'Z' && s.State != 'X' {
			living = append(living, thread)
		}
	}
	return living
}

// heldBy returns the sockets among the descriptors in a folder of /proc.
func heldBy(folder string, wanted map[string]uint64) (inodes []uint64) {
	dir, err := os.Open(folder)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what came before an error counts
	var link [64]byte
	at := int(dir.Fd())
	for _, name := range names {
		n, err := unix.Readlinkat(at, name, link[:])
		if err != nil {
			continue
		}
		if inode, ok := wanted[string(link[:n])]; ok {
			inodes = append(inodes, inode)
		}
	}
	return inodes
}

// SocketInode returns the inode of a socket, by which SocketHolders knows it. The two ends of a pair have one each.
func SocketInode(fd int) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	return st.Ino, nil
}
