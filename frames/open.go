// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/switchboard-ipc/switchboard"
)

// Create gives a channel a name, and makes it known to the user's broker. ctx is about this call only.
func Create(ctx context.Context, name string, f Format, opts ...CreateOption) (*Writer, error) {
	w, err := NewWriter(f, opts...)
	if err != nil {
		return nil, err
	}
	w.name = name
	listen := switchboard.Listen
	if w.options.client != nil {
		listen = w.options.client.Listen
	}
	l, err := listen(ctx, name, switchboard.AsChannel())
	if err != nil {
		w.Close()
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = func() { l.Close() }
	w.work.Add(1)
	go func() {
		defer w.work.Done()
		w.accept(l)
	}()
	return w, nil
}

// accept serves who calls, until the listener is closed or the name is lost: who reads already goes on.
func (w *Writer) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_ = w.Serve(c) // it says no more than that the connection is unusable
	}
}

// Open reads the channel of a name, with [Latest] unless another mode is said. It does not wait for the name, except with [Rejoin].
// ctx is about this call only.
func Open(ctx context.Context, name string, opts ...OpenOption) (*Reader, error) {
	r, err := newReader(opts)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context) (net.Conn, error) { return dialChannel(ctx, r.options.client, name) }
	if r.options.rejoin {
		r.redial = func(ctx context.Context) (net.Conn, error) { return dialWhenThere(ctx, r.options.client, name) }
		dial = r.redial
	}
	for {
		c, err := dial(ctx)
		if err == nil {
			err = r.join(ctx, c)
		}
		switch {
		case err == nil:
			return r, nil
		case r.redial == nil || !errors.Is(err, ErrWriterGone):
			r.cancel()
			return nil, fmt.Errorf("cannot open the frames of %q: %w", name, err)
		}
	}
}

func dialChannel(ctx context.Context, client *switchboard.Client, name string) (net.Conn, error) {
	dial := switchboard.Dial
	if client != nil {
		dial = client.Dial
	}
	c, err := dial(ctx, name)
	if err != nil {
		return nil, err // not a *Conn that is nil
	}
	return c, nil
}

// notReady is after how long a name that could not be called yet is called again.
const notReady = 50 * time.Millisecond

// dialWhenThere waits for the name.
func dialWhenThere(ctx context.Context, client *switchboard.Client, name string) (net.Conn, error) {
	watch := switchboard.Watch
	if client != nil {
		watch = client.Watch
	}
	var watcher *switchboard.Watcher
	for {
		c, err := dialChannel(ctx, client, name)
		switch {
		case err == nil || ctx.Err() != nil:
			return c, err
		case errors.Is(err, switchboard.ErrTryAgain): // it is there, and not ready
			select {
			case <-time.After(notReady):
			case <-ctx.Done():
			}
			continue
		case !errors.Is(err, switchboard.ErrUnavailable):
			return nil, err
		}
		if watcher == nil {
			if watcher, err = watch(ctx, name); err != nil {
				return nil, err
			}
			defer watcher.Close()
			continue // it may have come between the two
		}
		for {
			event, err := watcher.Next(ctx)
			if err != nil {
				return nil, err
			}
			if event.Kind == switchboard.Appeared || event.Kind == switchboard.Changed {
				break
			}
		}
	}
}

// StatsOf asks the writer of a name for its statistics. Of the options only [Via] counts.
func StatsOf(ctx context.Context, name string, opts ...OpenOption) (Stats, error) {
	var o openOptions
	for _, opt := range opts {
		opt.applyOpen(&o)
	}
	c, err := dialChannel(ctx, o.client, name)
	if err != nil {
		return Stats{}, err
	}
	return ReadStats(ctx, c)
}
