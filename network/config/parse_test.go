// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/switchboard-ipc/switchboard/network/config"
)

const full = `# all there is
mode = "shared"
description = "A laboratory"
subnet = "192.168.42.0"
mask = "255.255.255.0"
ipv6_prefix = "fd12:3456:789a::"
external_interface = "eth1"
nat44 = true
nat66 = false
dhcp = true
dns_proxy = false
router_advertisement = false
host_access = false
mtu = 9000
removal_delay = "never"
allow_uid = [0, 1000]
allow_gid = [100]

[[port_forwarding_rules]]
protocol = "tcp"
external_port = 8080
internal_address = "192.168.42.2"
internal_port = 80

[[port_forwarding_rules]]
protocol = "udp"
external_address = "0.0.0.0"
external_port = 8080
internal_address = "192.168.42.2"
internal_port = 81

[[dhcp_reservations]]
mac_address = "52:54:00:00:00:01"
ip_address = "192.168.42.2"
`

var ignore = []cmp.Option{cmpopts.IgnoreUnexported(config.Network{}), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})}

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := config.Parse("/etc/lab.toml", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	inside := netip.MustParseAddr("192.168.42.2")
	want := &config.Network{
		Name: "lab", File: "/etc/lab.toml", Description: "A laboratory", Mode: config.Shared,
		Subnet: netip.MustParsePrefix("192.168.42.0/24"), IPv6Prefix: netip.MustParsePrefix("fd12:3456:789a::/64"),
		ExternalInterface: "eth1", NAT44: true, DHCP: true, MTU: 9000, RemovalDelay: config.Never,
		AllowUID: []uint32{0, 1000}, AllowGID: []uint32{100},
		Forwards: []config.Forward{
			{Protocol: "tcp", ExternalAddress: netip.MustParseAddr("127.0.0.1"), ExternalPort: 8080, InternalAddress: inside, InternalPort: 80},
			{Protocol: "udp", ExternalAddress: netip.MustParseAddr("0.0.0.0"), ExternalPort: 8080, InternalAddress: inside, InternalPort: 81},
		},
		Reservations: []config.Reservation{{MAC: [6]byte{0x52, 0x54, 0, 0, 0, 1}, Address: inside}},
	}
	if d := cmp.Diff(want, got, ignore...); d != "" {
		t.Error(d)
	}
	if !got.Given("nat66") || got.Given("mask.x") || got.Gateway() != netip.MustParseAddr("192.168.42.1") {
		t.Errorf("%+v", got)
	}
	if e := got.Errorf("dhcp_reservations[0].ip_address", "bad"); e.Error() != "/etc/lab.toml:34: bad" {
		t.Error(e)
	}
	again, err := config.Parse("/etc/lab.toml", got.TOML())
	if err != nil {
		t.Fatalf("%v in\n%s", err, got.TOML())
	}
	if d := cmp.Diff(got, again, ignore...); d != "" {
		t.Error(d)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	for _, mode := range []config.Mode{config.Shared, config.Host} {
		got, err := config.Parse("x.toml", []byte("mode = '"+string(mode)+"'"))
		if err != nil {
			t.Fatal(err)
		}
		want := config.Default("x", mode)
		want.File = "x.toml"
		if d := cmp.Diff(want, got, ignore...); d != "" {
			t.Error(d)
		}
		if got.RemovalDelay != 2*time.Minute || got.MTU != 1500 || got.HostAccess != (mode == config.Shared) {
			t.Errorf("%+v", got)
		}
	}
	for text, want := range map[string]time.Duration{"0": 0, "120": 2 * time.Minute, `"0s"`: 0, `"never"`: config.Never, `"1m30s"`: 90 * time.Second} {
		if got, err := config.Parse("x.toml", []byte("mode = 'host'\nremoval_delay = "+text)); err != nil || got.RemovalDelay != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	got, err := config.Parse("x.toml", []byte("host_access = true\nmode = 'host'"))
	if err != nil || !got.HostAccess {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	const subnet = "mode = 'shared'\nsubnet = '192.168.42.0'\nmask = '255.255.255.0'\n"
	const rule = subnet + "[[port_forwarding_rules]]\nprotocol = 'tcp'\nexternal_port = 1\ninternal_address = '192.168.42.2'\ninternal_port = 2\n"
	const reservation = subnet + "[[dhcp_reservations]]\nmac_address = '52:54:00:00:00:01'\nip_address = '192.168.42.2'\n"
	for _, test := range []struct{ text, want string }{
		{"", `x.toml:1: mode is missing`},
		{"mode = 'bridged'", `x.toml:1: mode is "bridged"`},
		{"mode = 1", `x.toml:1: mode is a number`},
		{"\nmode =", `x.toml:2: this is not TOML`},
		{"mode = 'host'\nmode = 'host'", `x.toml:2: this is not TOML`},
		{"mode = 'host'\n\ncolour = 1", `x.toml:3: unknown key "colour": the keys are mode,`},
		{"mode = 'host'\n[nat]\nx = 1", `x.toml:2: unknown key "nat"`},
		{"mode = 'host'\ndhcp = 'yes'", `x.toml:2: dhcp is a text, and must be true or false`},
		{"mode = 'host'\nmtu = 100", `x.toml:2: mtu is 100, and must be from 576 to 65520`},
		{"mode = 'host'\nmtu = 1500.5", `x.toml:2: mtu is a number with a fraction`},
		{"mode = 'host'\ndescription = ''", `x.toml:2: description is empty`},
		{"mode = 'host'\ndescription = \"a\\nb\"", `x.toml:2: description must be one line`},
		{"mode = 'host'\nsubnet = '192.168.42.0'", `x.toml:2: subnet goes with mask only`},
		{"mode = 'host'\nmask = '255.255.255.0'", `x.toml:2: mask goes with subnet only`},
		{"mask = '255.0.255.0'\nmode = 'host'\nsubnet = '192.168.42.0'", `x.toml:1: mask is 255.0.255.0, whose bits`},
		{"mask = '255.255.255.255'\nmode = 'host'\nsubnet = '192.168.42.0'", `x.toml:1: mask is that of a /32`},
		{"mask = '255.255.255.0'\nmode = 'host'\nsubnet = '192.168.42.1'", `x.toml:3: subnet is 192.168.42.1, which with this mask is an address in a network: write "192.168.42.0"`},
		{"mask = '255.255.255.0'\nmode = 'host'\nsubnet = '127.0.0.0'", `x.toml:3: subnet is 127.0.0.0/24, which no network`},
		{"mask = '255.255.255.0'\nmode = 'host'\nsubnet = 'fd00::'", `x.toml:3: subnet is fd00::, and must be an IPv4 address`},
		{"mask = '255.255.255.0'\nmode = 'host'\nsubnet = 'here'", `x.toml:3: subnet is "here", which is not an IP address`},
		{"mode = 'host'\nipv6_prefix = '2001:db8::'", `x.toml:2: ipv6_prefix is 2001:db8::, and must begin with "fd"`},
		{"mode = 'host'\nipv6_prefix_length = 64", `x.toml:2: ipv6_prefix_length goes with ipv6_prefix only`},
		{"mode = 'host'\nipv6_prefix = 'fd00::1'", `x.toml:2: ipv6_prefix is fd00::1, which has more bits`},
		{"mode = 'host'\nexternal_interface = 'e'", `x.toml:2: external_interface goes with mode = "shared" only`},
		{"mode = 'host'\nremoval_delay = 1.5", `x.toml:2: removal_delay is a number with a fraction, and must be a time: write`},
		{"mode = 'host'\nremoval_delay = -1", `x.toml:2: removal_delay is -1, and must be from 0 to 31536000`},
		{"mode = 'host'\nremoval_delay = '120'", `x.toml:2: removal_delay is "120", which is not a time: write one such as "30s" or "5m", seconds such as 30`},
		{"mode = 'host'\nremoval_delay = '-1s'", `x.toml:2: removal_delay is -1s, and a time cannot be negative`},
		{"mode = 'host'\nremoval_delay = 'soon'", `x.toml:2: removal_delay is "soon", which is not a time`},
		{"mode = 'host'\nremoval_delay = '9000h'", `x.toml:2: removal_delay is 9000h0m0s, and can be a year`},
		{"mode = 'host'\nallow_uid = []", `x.toml:2: allow_uid is empty`},
		{"mode = 'host'\nallow_uid = [\n1,\n-2]", `allow_uid[1] is -2, and must be from 0`},
		{"mode = 'host'\nallow_gid = ['root']", `x.toml:2: allow_gid[0] is a text, and must be a whole number`},
		{rule + "x = 1", `x.toml:9: unknown key "x": a rule has protocol`},
		{strings.Replace(rule, "'tcp'", "'icmp'", 1), `x.toml:5: port_forwarding_rules[0].protocol is "icmp"`},
		{strings.Replace(rule, "external_port = 1", "external_port = 0", 1), `x.toml:6: port_forwarding_rules[0].external_port is 0`},
		{strings.Replace(rule, "internal_port = 2", "", 1), `x.toml:4: port_forwarding_rules[0] has no internal_port`},
		{strings.Replace(rule, "42.2", "43.2", 1), `x.toml:7: port_forwarding_rules[0].internal_address is 192.168.43.2, which is not in the subnet`},
		{strings.Replace(rule, "42.2", "42.1", 1), `x.toml:7: port_forwarding_rules[0].internal_address is 192.168.42.1, which no guest can have`},
		{strings.Replace(rule, "'shared'", "'host'", 1), `x.toml:4: port_forwarding_rules goes with mode = "shared" only`},
		{rule + rule[len(subnet):], `x.toml:11: port_forwarding_rules has tcp port 1 of 127.0.0.1 a second time`},
		{"mode = 'shared'\n" + rule[len(subnet):], `x.toml:2: port_forwarding_rules needs a fixed subnet`},
		{"mode = 'shared'\nport_forwarding_rules = [1]", `x.toml:2: port_forwarding_rules has a number at place 1`},
		{"mode = 'shared'\nport_forwarding_rules = 1", `x.toml:2: port_forwarding_rules is a number, and must be a list of tables`},
		{"mode = 'shared'\nport_forwarding_rules = [\n{protocol = 'tcp'},\n{protocol = 'x'}]", `port_forwarding_rules[0] has no external_port`},
		{strings.Replace(reservation, "52:", "53:", 1), `x.toml:5: dhcp_reservations[0].mac_address is "53:54:00:00:00:01", which is a group's address`},
		{strings.Replace(reservation, "52:", "", 1), `x.toml:5: dhcp_reservations[0].mac_address is "54:00:00:00:01", and must be a MAC address`},
		{strings.Replace(reservation, "42.2", "42.255", 1), `x.toml:6: dhcp_reservations[0].ip_address is 192.168.42.255, which no guest can have`},
		{reservation + reservation[len(subnet):], `x.toml:8: dhcp_reservations has 52:54:00:00:00:01 a second time`},
		{"dhcp = false\n" + reservation, `x.toml:5: dhcp_reservations goes with dhcp only`},
	} {
		_, err := config.Parse("x.toml", []byte(test.text))
		var e *config.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q:\n got %v\nwant %s", test.text, err, test.want)
		}
	}
	for file, want := range map[string]string{
		"x": "does not end in .toml", "a b.toml": "not named after a network", ".toml": "not named after a network", "a@1.toml": "not named after a network",
	} {
		if _, err := config.Parse(file, []byte("mode = 'host'")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestAllows(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rules string
		uid   uint32
		gids  []uint32
		want  bool
	}{
		{"", 7, nil, true},
		{"allow_uid = [7]", 7, nil, true},
		{"allow_uid = [7]", 8, []uint32{7}, false},
		{"allow_gid = [7]", 8, []uint32{1, 7}, true},
		{"allow_gid = [7]", 7, []uint32{1}, false},
		{"allow_uid = [1]\nallow_gid = [7]", 1, nil, true},
		{"allow_uid = [1]", 0, nil, false},
	} {
		n, err := config.Parse("x.toml", []byte("mode = 'host'\n"+test.rules))
		if err != nil {
			t.Fatal(err)
		}
		if got := n.Allows(test.uid, test.gids); got != test.want {
			t.Errorf("%q: user %d of %v: %v", test.rules, test.uid, test.gids, got)
		}
	}
}

// What is read says the same when it is written and read again; nothing panics.
func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte("mode = 'host'\nallow_uid = [1]\nremoval_delay = 0"))
	f.Add([]byte("mode = 'shared'\nport_forwarding_rules = [{protocol = 'tcp'}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := config.Parse("x.toml", data)
		if err != nil {
			return
		}
		again, err := config.Parse("x.toml", n.TOML())
		if err != nil {
			t.Fatalf("%v in\n%s", err, n.TOML())
		}
		if d := cmp.Diff(n, again, ignore...); d != "" {
			t.Fatal(d)
		}
	})
}
