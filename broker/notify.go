// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/switchboard-ipc/switchboard/execshim"
	"github.com/switchboard-ipc/switchboard/internal/directory"
	"github.com/switchboard-ipc/switchboard/internal/launch"
	"github.com/switchboard-ipc/switchboard/internal/sys"
)

func hooked() bool { return execshim.Hooked() }

// readNotify takes what backends say of themselves (sd_notify).
func (b *Broker) readNotify(fd int) {
	p := b.packet()
	defer b.putPacket(p)
	for range doorAtOnce {
		n, err := p.Recv(fd)
		if err != nil {
			return
		}
		pid := p.Cred.PID
		ready := p.HasCred && launch.ParseNotify(p.Data[:n]).Ready
		p.Message.Close()
		if ready {
			if id := b.backendOf(pid); id != 0 {
				b.apply(directory.Ready{Backend: id, Notified: true, Now: b.now()})
			}
		}
	}
}

// backendOf returns the backend that a process is, or belongs to.
func (b *Broker) backendOf(pid int) directory.ID {
	mains := make(map[int]directory.ID)
	b.mu.Lock()
	for _, be := range b.backends {
		if be.process != nil {
			mains[be.process.PID] = be.id
		}
	}
	b.mu.Unlock()
	for range 64 {
		if id := mains[pid]; id != 0 {
			return id
		}
		st, err := sys.StatProcess(pid)
		if err != nil || st.Parent <= 1 {
			return 0
		}
		pid = st.Parent
	}
	return 0
}

// reapOrphans reaps what backends left behind, where this process is the broker's alone. The function that it returns ends that.
func (b *Broker) reapOrphans() func() {
	if b.launcher == nil || !b.config.Subreaper {
		return func() {}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range signals {
			b.launcher.Reap()
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

// starting reports whether a process is being launched that the broker would leave half done. The lock is held.
func (b *Broker) starting() bool {
	for _, be := range b.backends {
		if be.process == nil || be.control != 0 {
			return true
		}
	}
	return false
}
