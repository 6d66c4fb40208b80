// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard/mach"
)

const (
	demoPort    = "com.example.demo.port"
	demoMessage = 500 // the id of its messages; replies have 100 more
)

// stepPort is what software sees that is written to the Mach API: two programs find each other by bootstrap messages, and what was sent to
// a program that was killed is read by the next.
func stepPort(ctx context.Context, t *tour) (string, error) {
	boot, err := mach.Connect(ctx, mach.Options{RuntimeDir: t.runtimeDir(), NoAutostart: true})
	if err != nil {
		return "", err
	}
	defer boot.Close()
	port, err := boot.CreateService(ctx, demoPort) // declared so, it outlives who checks it in
	if err != nil {
		return "", err
	}
	defer port.Close()
	first, heard, err := t.receiver(ctx, 1)
	if err != nil {
		return "", err
	}
	defer heard.Close()
	answer, err := t.output(ctx, t.command(t.self, "_demo", "asker", demoPort, "hello"))
	if err != nil {
		return "", err
	}
	if answer != "HELLO" {
		return "", fmt.Errorf("the answer was %q", answer)
	}

	// Of three messages, two come while it does not read any more, and one when it is dead.
	sent := []string{"one", "two", "three"}
	for i, text := range sent {
		if i == 2 {
			_ = syscall.Kill(first.pid(), syscall.SIGKILL)
			<-first.done
		}
		if err := port.Send(ctx, &mach.Message{ID: demoMessage, Body: []byte(text)}); err != nil {
			return "", err
		}
	}
	began := time.Now()
	second, heard, err := t.receiver(ctx, len(sent))
	if err != nil {
		return "", err
	}
	defer heard.Close()
	took := time.Since(began)
	lines := bufio.NewReader(heard)
	for _, text := range sent {
		line, err := lines.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("the next owner of the port did not read %q: %w", text, err)
		}
		if line != text+"\n" {
			return "", fmt.Errorf("the next owner of the port read %q, and %q was sent", line, text)
		}
	}
	return fmt.Sprintf("by Mach messages: %q → %q from pid %d; killed with -9, its queue went on: pid %d has the port %s later, "+
		"and read all %d that were waiting, in order", "hello", answer, first.pid(), second.pid(), millis(took), len(sent)), nil
}

// receiver starts a program that checks the port of the tour in and reads so many messages. It returns when the program has the port,
// with what it will print: each message on a line.
func (t *tour) receiver(ctx context.Context, messages int) (*process, *os.File, error) {
	heard, out, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	cmd := t.command(t.self, "_demo", "receiver", demoPort, strconv.Itoa(messages))
	cmd.Stdout = out
	p, err := t.start(cmd)
	out.Close()
	if deadline, ok := ctx.Deadline(); ok && err == nil {
		err = heard.SetReadDeadline(deadline)
	}
	if err == nil {
		ready := make([]byte, len(receiverReady))
		if _, rerr := heard.Read(ready); rerr != nil || string(ready) != receiverReady {
			err = fmt.Errorf("the program that checks %s in did not become ready: %w: %s", demoPort, rerr, p.said.String())
		}
	}
	if err != nil {
		heard.Close()
		return nil, nil, err
	}
	return p, heard, nil
}

const receiverReady = "ready\n"

// demoReceiver checks a port in, prints so many messages and answers them in capitals, and keeps the port until it is ended.
func (a *app) demoReceiver(ctx context.Context, name, messages string) error {
	n, err := strconv.Atoi(messages)
	if err != nil {
		return usagef("%q is no number of messages", messages)
	}
	boot, err := mach.Connect(ctx, mach.Options{RuntimeDir: a.runtimeDir, NoAutostart: a.noAutostart})
	if err != nil {
		return err
	}
	defer boot.Close()
	port, err := boot.CheckIn(ctx, name)
	for mach.CodeOf(err) == mach.ServiceActive { // processes of the owner before are on their way out
		pause(ctx, time.Millisecond)
		port, err = boot.CheckIn(ctx, name)
	}
	if err != nil {
		return err
	}
	defer port.Close()
	fmt.Fprint(a.stdout, receiverReady)
	for range n {
		m, err := port.Receive(ctx)
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "%s\n", m.Body)
		if reply := m.Reply; reply != nil {
			m.Reply = nil
			err = reply.Send(ctx, &mach.Message{ID: m.ID + 100, Body: []byte(strings.ToUpper(string(m.Body)))})
		}
		m.Close()
		if err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// demoAsker looks a port up, sends it a message and prints the answer.
func (a *app) demoAsker(ctx context.Context, name, text string) error {
	boot, err := mach.Connect(ctx, mach.Options{RuntimeDir: a.runtimeDir, NoAutostart: a.noAutostart})
	if err != nil {
		return err
	}
	defer boot.Close()
	port, err := boot.LookUp(ctx, name)
	if err != nil {
		return err
	}
	defer port.Close()
	answer, err := port.Call(ctx, &mach.Message{ID: demoMessage, Body: []byte(text)})
	if err != nil {
		return err
	}
	defer answer.Close()
	_, err = fmt.Fprintf(a.stdout, "%s\n", answer.Body)
	return err
}
