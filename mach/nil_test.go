// SPDX-License-Identifier: Apache-2.0

//go:build linux

package mach_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/mach"
)

// TestNil: what is missing is an error, and nobody's end.
func TestNil(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := connect(t, mach.Options{RuntimeDir: newBroker(t)})
	receive, send := newPort(t)
	replies, reply, err := mach.NewReplyPort()
	if err != nil {
		t.Fatal(err)
	}
	defer replies.Close()
	defer reply.Close()
	wantCode(t, "send", send.Send(ctx, nil), mach.InvalidArgument)
	wantCode(t, "reply", reply.Send(ctx, nil), mach.InvalidArgument)
	wantCode(t, "call", second(send.Call(ctx, nil)), mach.InvalidArgument)
	var nobody *mach.SendRight
	wantCode(t, "dead", second(b.NotifyDead(ctx, nil, nil)), mach.InvalidRight)
	wantCode(t, "dead, to nobody", second(b.NotifyDead(ctx, send, nil)), mach.InvalidRight)
	wantCode(t, "dead, to a nil right", second(b.NotifyDead(ctx, send, nobody)), mach.InvalidRight)
	wantCode(t, "no senders", b.NotifyNoSenders(ctx, nil, send), mach.InvalidRight)
	wantCode(t, "destroyed", b.NotifyDestroyed(ctx, nil, send), mach.InvalidRight)
	wantCode(t, "adopt to receive", second(mach.AdoptReceive(nil)), mach.InvalidRight)
	wantCode(t, "adopt to send", second(mach.AdoptSend(nil)), mach.InvalidRight)

	// A nil right in a message is none.
	if err := send.Send(ctx, &mach.Message{ID: 1, Rights: []mach.Right{nobody, nil}}); err != nil {
		t.Fatal(err)
	}
	m, err := receive.Receive(ctx)
	if err != nil || len(m.Rights) != 2 || m.Rights[0] != nil || m.Rights[1] != nil {
		t.Errorf("%+v, %v", m, err)
	}
	(&mach.Message{Rights: []mach.Right{nobody}}).Close()
}

// TestNoBootstrapPort: a port that somebody else reads takes a connection, and no answer ever comes.
func TestNoBootstrapPort(t *testing.T) {
	t.Parallel()
	_, send := newPort(t)
	b := connect(t, mach.Options{Port: send})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	err := second(b.LookUp(ctx, "com.example.a"))
	wantIs(t, "look up", err, context.DeadlineExceeded)
	if !strings.Contains(fmt.Sprint(err), "perhaps no bootstrap port") {
		t.Error(err)
	}
}

// TestBadEnvironment: an error names the variable that led astray, and what to do about it.
func TestBadEnvironment(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir + "/other.sock", dir + "/none/below/" + mach.Socket} {
		t.Setenv(switchboard.EnvBootstrap, path)
		_, err := mach.Connect(testContext(t), mach.Options{})
		text := fmt.Sprint(err)
		if !strings.Contains(text, switchboard.EnvBootstrap+` "`+path+`"`) || !strings.Contains(text, "unset the variable") ||
			strings.Contains(text, "choose another") {
			t.Error(text)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("something was made there: %v, %v", left, err)
	}
}

// TestBadNames: an error says what is wrong with a name.
func TestBadNames(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := connect(t, mach.Options{RuntimeDir: newBroker(t)})
	for name, want := range map[string]string{"a b": "a space at byte 2", "a\x00b": "at byte 2", strings.Repeat("a", 200): "200 bytes", "": "empty",
		"a~1": "~ and digits"} {
		for what, err := range map[string]error{
			"look up": second(b.LookUp(ctx, name)), "check in": second(b.CheckIn(ctx, name)), "register": b.Register(ctx, name, nil),
			"create": second(b.CreateService(ctx, name)), "look up many": second(b.LookUpMany(ctx, "com.example.a", name)),
		} {
			wantCode(t, what, err, mach.BadArguments)
			if !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
}
