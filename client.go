// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// The sockets in the runtime folder.
const (
	brokerSocket  = "broker.sock"
	sessionSocket = "session.sock"
)

// usualPatience bounds attempts to reach a broker, and waits for its word, where the caller's context has no deadline. A
// broker that is well answers far sooner: the longest that it takes is two seconds, for a service that does not.
const usualPatience = 10 * time.Second

// Config says how a Client finds its broker. The zero value is the user's broker, started if it does not run.
type Config struct {
	// RuntimeDir is the folder of the broker's sockets. "": an inherited descriptor (EnvSessionFD) if there is
	// one, else RuntimeDir().
	RuntimeDir string
	// NoAutostart: start no broker. So does EnvAutostart=0 in the environment.
	NoAutostart bool
	// Binary is the program `switchboard`, to start a broker with. "": $SWITCHBOARD, else this executable if it is that program,
	// else switchboard on PATH.
	Binary string
	// Logger is told what has no caller to tell it to, such as a lost broker; nil: nobody is.
	Logger *slog.Logger
}

// Client is a way to one broker. Make it with New.
type Client struct {
	dir       string // the runtime folder, absolute
	told      bool   // it was named, by the program or the environment
	door      *door  // the inherited way to the broker, or nil
	autostart bool
	binary    string
	log       *slog.Logger
	patience  time.Duration // usualPatience, and less in tests

	brokerPath, sessionPath string
	system                  string // systemFolder, and another in tests

	session *clientSession
	trusted atomic.Bool // the folder was checked, and a broker answered since

	// ctx ends with Close, and with it every goroutine of work.
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu       sync.Mutex // guards what follows
	closed   bool
	starting *start             // the attempt to start a broker that is under way
	passed   map[int]bool       // descriptors of LISTEN_FDS that a Listener uses
	asking   map[*Conn]struct{} // that wait for a verdict
	work     sync.WaitGroup
}

// New makes a Client. It does not connect: errors show at the first call.
func New(cfg Config) *Client {
	c := &Client{
		dir:       cfg.RuntimeDir,
		told:      cfg.RuntimeDir != "" || os.Getenv(EnvRuntimeDir) != "",
		autostart: !cfg.NoAutostart && os.Getenv(EnvAutostart) != "0",
		binary:    cfg.Binary,
		log:       cfg.Logger,
		patience:  usualPatience,
		system:    systemFolder,
	}
	if c.dir == "" {
		c.dir = RuntimeDir()
		if number, ok := os.LookupEnv(EnvSessionFD); ok {
			c.door = newDoor(number)
		}
	}
	c.dir = absolute(c.dir)
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.brokerPath = filepath.Join(c.dir, brokerSocket)
	c.sessionPath = filepath.Join(c.dir, sessionSocket)
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.session = newSession(c)
	return c
}

// Close ends the session, and with it everything that was obtained from the Client except open connections: listeners,
// watchers, namespaces, doors. It waits for the Client's goroutines. Calls that wait return net.ErrClosed.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel(errClosed)
	c.mu.Lock()
	for conn := range c.asking {
		conn.wake()
	}
	c.mu.Unlock()
	c.session.close()
	c.work.Wait()
	return nil
}

// run runs f in a goroutine that Close waits for. It returns false, and does nothing, on a closed Client.
func (c *Client) run(f func()) bool {
	if !c.enter() {
		return false
	}
	go func() {
		defer c.work.Done()
		f()
	}()
	return true
}

// enter makes Close wait for work.Done; false: the Client is closed.
func (c *Client) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.work.Add(1)
	}
	return !c.closed
}

// asks has Close wake who waits for a verdict on conn, until answered.
func (c *Client) asks(conn *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asking == nil {
		c.asking = make(map[*Conn]struct{})
	}
	c.asking[conn] = struct{}{}
}

// answered ends that; false: the Client is closed, and the connection of no use.
func (c *Client) answered(conn *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.asking, conn)
	return !c.closed
}

// trust checks the folder before the first connection, and again after a broker was missed.
func (c *Client) trust() error {
	if c.trusted.Load() {
		return nil
	}
	if err := checkFolder(c.dir, c.told); err != nil {
		return err
	}
	c.trusted.Store(true)
	return nil
}

// user returns the Client of the functions of this package. The first of them that is called makes it, of the environment as it
// is then.
var user = sync.OnceValue(func() *Client { return New(Config{}) })

// Dial calls a name of the user's broker; see [Client.Dial].
func Dial(ctx context.Context, name string, opts ...DialOption) (*Conn, error) {
	return user().Dial(ctx, name, opts...)
}

// DialContext is Dial in the form that http.Transport and others want; see [Client.DialContext].
func DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return user().DialContext(ctx, network, address)
}

// Listen gives this program a name; see [Client.Listen].
func Listen(ctx context.Context, name string, opts ...ListenOption) (*Listener, error) {
	return user().Listen(ctx, name, opts...)
}

// LookUp asks who has a name; see [Client.LookUp].
func LookUp(ctx context.Context, name string, opts ...LookUpOption) (Entry, error) {
	return user().LookUp(ctx, name, opts...)
}

// Watch tells of names that appear and go; see [Client.Watch].
func Watch(ctx context.Context, pattern string) (*Watcher, error) {
	return user().Watch(ctx, pattern)
}

func newID() (id [16]byte) {
	rand.Read(id[:]) // never fails
	return id
}
