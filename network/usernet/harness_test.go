// SPDX-License-Identifier: Apache-2.0

package usernet_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/containers/gvisor-tap-vsock/pkg/tap"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"go.uber.org/goleak"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/switchboard-ipc/switchboard/network/usernet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test: far above what is needed, for slow machines.
const patience = 60 * time.Second

// testContext ends with the test, or when patience does.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// newNetwork makes a network for a test.
func newNetwork(t *testing.T, change func(*usernet.Config)) *usernet.Network {
	t.Helper()
	c := usernet.Config{Name: "test", Outside: true, HostAccess: true, Subnet: netip.MustParsePrefix("192.168.77.0/24")}
	if change != nil {
		change(&c)
	}
	n, err := usernet.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// wire is a guest's end of its socket.
type wire struct {
	net.Conn
	stream bool
	mu     sync.Mutex
}

func openWire(t *testing.T, end *os.File, kind usernet.Kind) *wire {
	t.Helper()
	conn, err := net.FileConn(end)
	end.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &wire{Conn: conn, stream: kind == usernet.Stream}
}

func (w *wire) send(frame []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stream {
		frame = append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
	}
	_, err := w.Write(frame)
	return err
}

func (w *wire) receive() ([]byte, error) {
	if !w.stream {
		b := make([]byte, 1<<17)
		n, err := w.Read(b)
		return b[:n], err
	}
	var size [4]byte
	if _, err := io.ReadFull(w, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(w, b)
	return b, err
}

// udpFrame makes a frame with a datagram in it.
func udpFrame(fromMAC, toMAC net.HardwareAddr, from, to netip.AddrPort, data []byte) []byte {
	u := header.UDP(make([]byte, header.UDPMinimumSize+len(data)))
	copy(u[header.UDPMinimumSize:], data)
	u.Encode(&header.UDPFields{SrcPort: from.Port(), DstPort: to.Port(), Length: uint16(len(u))})
	source, destination := tcpip.AddrFrom4(from.Addr().As4()), tcpip.AddrFrom4(to.Addr().As4())
	sum := header.PseudoHeaderChecksum(udp.ProtocolNumber, source, destination, uint16(len(u)))
	u.SetChecksum(^u.CalculateChecksum(checksum.Checksum(data, sum)))
	ip := header.IPv4(make([]byte, header.IPv4MinimumSize))
	ip.Encode(&header.IPv4Fields{TotalLength: uint16(len(ip) + len(u)), TTL: 64, Protocol: uint8(udp.ProtocolNumber), SrcAddr: source, DstAddr: destination})
	ip.SetChecksum(^ip.CalculateChecksum())
	eth := header.Ethernet(make([]byte, header.EthernetMinimumSize))
	eth.Encode(&header.EthernetFields{SrcAddr: tcpip.LinkAddress(fromMAC), DstAddr: tcpip.LinkAddress(toMAC), Type: ipv4.ProtocolNumber})
	return append(append(eth, ip...), u...)
}

var everybody = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// askDHCP sends a message and returns the answer to it.
func askDHCP(t *testing.T, w *wire, m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	t.Helper()
	from, to := netip.MustParseAddrPort("0.0.0.0:68"), netip.MustParseAddrPort("255.255.255.255:67")
	if err := w.send(udpFrame(m.ClientHWAddr, everybody, from, to, m.ToBytes())); err != nil {
		t.Fatal(err)
	}
	w.SetReadDeadline(time.Now().Add(patience))
	defer w.SetReadDeadline(time.Time{})
	for {
		frame, err := w.receive()
		if err != nil {
			t.Fatalf("no answer by DHCP: %v", err)
		}
		const start = header.EthernetMinimumSize + header.IPv4MinimumSize + header.UDPMinimumSize
		if len(frame) < start || header.Ethernet(frame).Type() != ipv4.ProtocolNumber {
			continue
		}
		reply, err := dhcpv4.FromBytes(frame[start:])
		if err == nil && reply.TransactionID == m.TransactionID && reply.OpCode == dhcpv4.OpcodeBootReply {
			return reply
		}
	}
}

// lease gets an address by DHCP, and returns the acknowledgement.
func lease(t *testing.T, w *wire, mac net.HardwareAddr) *dhcpv4.DHCPv4 {
	t.Helper()
	discover, err := dhcpv4.NewDiscovery(mac)
	if err != nil {
		t.Fatal(err)
	}
	offer := askDHCP(t, w, discover)
	if offer.MessageType() != dhcpv4.MessageTypeOffer {
		t.Fatalf("got %s, want an offer", offer.Summary())
	}
	request, err := dhcpv4.NewRequestFromOffer(offer)
	if err != nil {
		t.Fatal(err)
	}
	ack := askDHCP(t, w, request)
	if ack.MessageType() != dhcpv4.MessageTypeAck {
		t.Fatalf("got %s, want an acknowledgement", ack.Summary())
	}
	return ack
}

// machine is a guest with a TCP/IP stack.
type machine struct {
	*usernet.Guest
	wire  *wire
	lease *dhcpv4.DHCPv4
	stack *stack.Stack
	link  *tap.LinkEndpoint
}

// DeliverNetworkPacket sends what the machine's stack sends.
func (m *machine) DeliverNetworkPacket(_ tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	m.wire.send(pkt.ToView().AsSlice())
}

// newMachine attaches a guest, which gets its address by DHCP. All that is not in the subnet it sends to the gateway.
func newMachine(t *testing.T, n *usernet.Network, kind usernet.Kind, id string) *machine {
	t.Helper()
	g, end, err := n.Connect(kind, usernet.GuestConfig{MAC: usernet.MAC(id)})
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{Guest: g, wire: openWire(t, end, kind)}
	m.lease = lease(t, m.wire, g.MAC())
	ip, ok := netip.AddrFromSlice(m.lease.YourIPAddr.To4())
	if !ok {
		t.Fatalf("the address is %v", m.lease.YourIPAddr)
	}
	m.start(t, n.Info(), ip)
	return m
}

// start starts the machine's TCP/IP stack.
func (m *machine) start(t *testing.T, info usernet.Info, ip netip.Addr) {
	t.Helper()
	var err error
	m.link, err = tap.NewLinkEndpoint(false, uint32(info.MTU), m.MAC().String(), ip.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m.link.Connect(m)
	m.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	if err := m.stack.CreateNIC(1, m.link); err != nil {
		t.Fatal(err)
	}
	address := tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(ip.As4()), PrefixLen: info.Subnet.Bits()}
	if err := m.stack.AddProtocolAddress(1, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: address}, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	m.stack.SetRouteTable([]tcpip.Route{
		{Destination: address.Subnet(), NIC: 1},
		{Destination: header.IPv4EmptySubnet, Gateway: tcpip.AddrFrom4(info.Gateway.As4()), NIC: 1},
	})
	done := make(chan struct{})
	go m.run(done)
	t.Cleanup(func() {
		m.Close()
		m.wire.Close()
		<-done
		for _, e := range m.stack.CleanupEndpoints() {
			e.Abort()
		}
		m.stack.Destroy()
	})
}

func (m *machine) run(done chan struct{}) {
	defer close(done)
	for {
		frame, err := m.wire.receive()
		if err != nil {
			return
		}
		if len(frame) < header.EthernetMinimumSize {
			continue
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame[header.EthernetMinimumSize:])})
		m.link.DeliverNetworkPacket(header.Ethernet(frame).Type(), pkt)
		pkt.DecRef()
	}
}

func full(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: 1, Addr: tcpip.AddrFrom4(a.Addr().As4()), Port: a.Port()}
}

func (m *machine) dial(t *testing.T, to netip.AddrPort) (net.Conn, error) {
	return gonet.DialContextTCP(testContext(t), m.stack, full(to), ipv4.ProtocolNumber)
}

func (m *machine) dialUDP(t *testing.T, to netip.AddrPort) net.Conn {
	t.Helper()
	remote := full(to)
	c, err := gonet.DialUDP(m.stack, nil, &remote, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

func (m *machine) at(port uint16) netip.AddrPort { return netip.AddrPortFrom(m.IP(), port) }

// serveTCP answers each connection with what comes on it.
func (m *machine) serveTCP(t *testing.T, port uint16) {
	t.Helper()
	l, err := gonet.ListenTCP(m.stack, full(m.at(port)), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	echoTCP(t, l)
}

func (m *machine) serveUDP(t *testing.T, port uint16) {
	t.Helper()
	local := full(m.at(port))
	c, err := gonet.DialUDP(m.stack, &local, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	echoUDP(t, c)
}
