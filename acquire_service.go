// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/switchboard-ipc/switchboard/internal/companion"
	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/session"
)

// networkAttempts is how often a service is asked that ends instead of answering: one that was idle may just be ending.
const networkAttempts = 4

// askNetworks has f ask the network service on a connection of its own, which is closed if f fails and is f's else. With start, the service is
// started if it does not run. A service that goes away before it answers is asked again, if another takes its place.
func (c *Client) askNetworks(ctx context.Context, start bool, f func(context.Context, *networkConn) error) error {
	limited := ctx
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, c.patience)
		defer cancel()
	}
	limited, stop := context.WithCancelCause(limited)
	defer stop(nil)
	defer context.AfterFunc(c.ctx, func() { stop(errClosed) })()

	var declared []*declared
	defer func() {
		for _, d := range declared {
			d.release()
		}
	}()
	r := newRetry(limited, c.patience)
	for attempt := 1; ; attempt++ {
		port, err := c.networkPort(limited, start, &declared)
		if err == nil {
			err = c.askAt(limited, port, f)
			port.Close()
		}
		switch {
		case err == nil:
			return nil
		case c.ctx.Err() != nil:
			return errClosed
		case ctx.Err() != nil:
			return ctx.Err()
		case limited.Err() != nil && !says(err):
			return &Error{Code: CodeTryAgain, Err: err, Text: silentService(c.patience) + c.lastWords(NetworkService)}
		case !errors.Is(err, errHungUp) || attempt == networkAttempts || !r.wait(limited):
			return err
		}
	}
}

// guestPatience is how long the service waits for a guest, at most.
const guestPatience = 10 * time.Second

// silentService says that the service does not answer, and what to look at.
func silentService(patience time.Duration) string {
	return fmt.Sprintf("the network service has not answered for %v: it cannot start, hangs, or is suspended; its process is in switchboard ls %s, "+
		"and what it wrote in switchboard logs %[2]s", patience, NetworkService)
}

// says reports whether an error is one for people already.
func says(err error) bool {
	var full *Error
	return errors.As(err, &full)
}

// askAt has f ask the service behind a port.
func (c *Client) askAt(ctx context.Context, port *sys.FD, f func(context.Context, *networkConn) error) error {
	n, err := shakeHands(ctx, port)
	if err != nil {
		return err
	}
	n.patient = c.patience
	if err := f(ctx, n); err != nil {
		n.close()
		return err
	}
	return nil
}

// networkPort finds the service's port: where the user's broker has it, then where the system's has it, then by telling the user's broker how to start
// it, which is added to what is declared.
func (c *Client) networkPort(ctx context.Context, start bool, all *[]*declared) (*sys.FD, error) {
	port, err := c.lookUpPort(ctx, NetworkService, start)
	if err == nil {
		return port, nil
	}
	other, serr := c.lookUpSystemPort(ctx, NetworkService)
	switch {
	case serr == nil:
		return other, nil
	case !errors.Is(err, errNoPort):
		return nil, err
	case !errors.Is(serr, errNoPort):
		return nil, serr
	case !start:
		return nil, ErrNoNetworkService
	}
	program, err := c.networkProgram()
	if err != nil {
		return nil, err
	}
	d := &declared{c.session, session.Declare{Name: NetworkService, Accept: "mach", Exec: []string{program, "serve"}}}
	if err := c.session.obtain(ctx, d); err != nil {
		// Somebody else may have declared another program meanwhile, which is as good.
		if port, perr := c.lookUpPort(ctx, NetworkService, start); perr == nil {
			return port, nil
		}
		if c.door != nil && errors.Is(err, ErrNotAllowed) {
			return nil, &Error{Code: CodeUnavailable, Err: err, Text: "no network service can be seen from inside this namespace, and none can be started in it: " +
				"start one outside (switchboard network serve, or any acquire), and, if this is switchboard run --only, let that have " + NetworkService}
		}
		return nil, during("start the network service as", program, err)
	}
	*all = append(*all, d)
	port, err = c.lookUpPort(ctx, NetworkService, start)
	if errors.Is(err, errNoPort) {
		return nil, &Error{Code: CodeTryAgain, Op: "start the network service as", Name: program,
			Text: "its name was gone as soon as it was declared: try again"}
	}
	return port, err
}

// networkProgram finds the service's program: beside the program switchboard, then on PATH.
func (c *Client) networkProgram() (string, error) {
	beside, err := c.program()
	if err != nil {
		beside = ""
	}
	found, err := companion.Find(companion.Network, beside)
	if err != nil {
		return "", &Error{Code: CodeUnavailable, Op: "start the network service", Err: err}
	}
	return found, nil
}

// lastWords quotes what a launched service wrote last, for people; "" if nothing is to be had.
func (c *Client) lastWords(name string) string {
	const most = 2048
	logs, _ := filepath.Glob(filepath.Join(c.dir, "log", name+"*.log"))
	if len(logs) == 0 {
		return ""
	}
	f, err := os.Open(logs[len(logs)-1])
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return ""
	}
	b := make([]byte, min(info.Size(), most))
	n, _ := f.ReadAt(b, info.Size()-int64(len(b)))
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(b[:n]), "\uFFFD")), "\n")
	return "; its last output:\n" + strings.Join(lines[max(0, len(lines)-3):], "\n")
}
