// SPDX-License-Identifier: Apache-2.0

package switchboard

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/switchboard-ipc/switchboard/internal/sys"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
)

// NetworkService is the name that the network service answers to.
const NetworkService = vmnet.Service

// The kinds of descriptor that a guest's interface can be.
const (
	StreamInterface   = "stream"   // frames after their length, four bytes big-endian: what `-netdev stream` of QEMU takes
	DatagramInterface = "datagram" // a frame is a datagram: what `-netdev dgram` takes
)

// AcquireOption says more about the interface that [Client.Acquire] asks for.
type AcquireOption interface{ applyAcquire(*acquireOptions) }

type acquireOptions struct {
	id, kind, driver string
	lasting          bool
}

type acquireOption func(*acquireOptions)

func (f acquireOption) applyAcquire(o *acquireOptions) { f(o) }

// AcquireID says who the guest is, in any words: the same id gets the same MAC address, and so the same address in the network. Without it, it
// is this program's name with its project folder.
func AcquireID(id string) AcquireOption {
	return acquireOption(func(o *acquireOptions) { o.id = id })
}

// AcquireKind asks for a descriptor of this kind; the default is [StreamInterface].
func AcquireKind(kind string) AcquireOption {
	return acquireOption(func(o *acquireOptions) { o.kind = kind })
}

// AcquireDriver asks for a driver: "auto", the best that is there (the default), or "user", which needs no privilege.
func AcquireDriver(driver string) AcquireOption {
	return acquireOption(func(o *acquireOptions) { o.driver = driver })
}

// AcquireLasting has the lease last as long as any process has what [Lease.Holders] returns, instead of this process alone. Close ends it all the same.
func AcquireLasting() AcquireOption {
	return acquireOption(func(o *acquireOptions) { o.lasting = true })
}

// Lease is an interface on a network, held until Close, the end of this process, the end of the network service, or a fault in what is written to Interface. The fields are as they were when
// it was acquired, and are not to be changed.
type Lease struct {
	// Interface is the guest's end: a connected socket, in blocking mode. It is closed by Close; a child process gets a duplicate. With the user driver a
	// hang-up on it says that the lease has ended.
	Interface *os.File

	ID      uint64 // of the lease, at the network service
	Name    string // who the guest is: its id, with a number behind it where another guest has that, or what the service knows this program by
	Network string // as it was asked for
	Mode    string // "shared" or "host"
	Kind    string // of Interface: StreamInterface or DatagramInterface
	Driver  string // of the network, such as "user"

	Subnet  netip.Prefix
	Mask    net.IPMask
	Gateway netip.Addr
	DNS     netip.Addr // the zero Addr if the network has none
	MTU     int        // in bytes
	MAC     net.HardwareAddr
	IP      netip.Addr // what DHCP says to this MAC address

	networks *networkConn
	once     sync.Once
}

// Acquire asks the network service for an interface on a network, such as "shared" or "host", and holds it. It needs no set-up: a broker and the
// network service are started if they do not run. The service is the one of the user's broker; if that has none, the system's, in /run/switchboard; else
// the program switchboard-network, beside the program switchboard or on PATH. ctx is about the question, not the lease; without a deadline in it the
// wait ends after ten seconds with ErrTryAgain.
//
// The error is an [*Error]; where the service refused, errors.As finds the [NetworkCode] in it.
func (c *Client) Acquire(ctx context.Context, network string, opts ...AcquireOption) (*Lease, error) {
	var o acquireOptions
	for _, opt := range opts {
		opt.applyAcquire(&o)
	}
	if network == "" {
		return nil, &Error{Code: CodeUsage, Op: opAcquire, Text: "the name of a network is wanted, such as shared"}
	}
	if err := ctx.Err(); err != nil {
		return nil, aboutNetwork(opAcquire, network, err)
	}
	var lease *Lease
	err := c.askNetworks(ctx, true, func(ctx context.Context, n *networkConn) (err error) {
		lease, err = n.acquire(ctx, network, o)
		return err
	})
	if err == nil && ctx.Err() != nil { // the answer came in the same moment; nobody waits for it
		lease.Close()
		lease, err = nil, ctx.Err()
	}
	return lease, aboutNetwork(opAcquire, network, err)
}

// Acquire asks for an interface on a network with the user's broker; see [Client.Acquire].
func Acquire(ctx context.Context, network string, opts ...AcquireOption) (*Lease, error) {
	return user().Acquire(ctx, network, opts...)
}

// What is done with networks and guests, in errors.
const (
	opAcquire  = "acquire the network"
	opHold     = "hold the network"
	opShare    = "share"
	opAsk      = "ask the network service"
	opShow     = "show the network"
	opList     = "list networks"
	opLeases   = "list leases"
	opLeasesOf = "list the leases of"
	opForward  = "forward to"
	opDial     = "dial"
)

// Done is closed when the lease has ended: by Close, or because the network service did.
func (l *Lease) Done() <-chan struct{} { return l.networks.done }

// Err returns nil while the lease is held, net.ErrClosed after Close, and else why it ended.
func (l *Lease) Err() error { return aboutNetwork(opHold, l.Network, l.networks.whyOver()) }

// Close gives the interface back and closes the descriptor. It waits, though not for long, until the service has heard; the guest's address is free then. It
// does nothing the second time.
func (l *Lease) Close() error {
	l.once.Do(func() {
		l.networks.release(l.ID)
		l.networks.close()
		l.Interface.Close()
	})
	return nil
}

// Holders returns duplicates of the descriptors of the connection that holds the lease, for a process that is to hold it too. With [AcquireLasting] the
// lease lasts as long as any process has all of them, or until Close. Nobody is to read or write them. They are the caller's to close.
func (l *Lease) Holders() (holders []*os.File, err error) {
	for _, end := range []*packetEnd{l.networks.out, l.networks.in} {
		var fd *sys.FD
		cerr := end.raw.Control(func(n uintptr) { fd, err = sys.Dup(int(n)) })
		if cerr != nil { // it is closed, with the connection
			err = l.networks.whyOver()
		}
		if err != nil {
			for _, f := range holders {
				f.Close()
			}
			return nil, aboutNetwork(opShare, l.Network, err)
		}
		holders = append(holders, os.NewFile(uintptr(fd.Take()), end.file.Name()))
	}
	return holders, nil
}

// acquire is Acquire on one connection, which the lease has from then on.
func (n *networkConn) acquire(ctx context.Context, network string, o acquireOptions) (*Lease, error) {
	answer, err := n.ask(ctx, vmnet.Request{Command: vmnet.Acquire, Version: vmnet.Version, Network: network, ID: o.id, Kind: o.kind, Driver: o.driver, Lasting: o.lasting})
	if err != nil {
		return nil, err
	}
	defer answer.close()
	details, err := vmnet.ParseDetails(answer.root)
	if err != nil {
		return nil, &networkFault{NetworkInvalidReply, err}
	}
	lease, err := newLease(details)
	if err != nil {
		return nil, &networkFault{NetworkInvalidReply, err}
	}
	fd, err := answer.take(details.Interface)
	if err != nil {
		return nil, &networkFault{NetworkInvalidReply, err}
	}
	lease.Interface = os.NewFile(uintptr(fd.Take()), "interface on "+network)
	lease.networks = n
	n.mu.Lock()
	n.lasting = o.lasting
	n.mu.Unlock()
	return lease, nil
}
