// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/network/config"
)

// The sample in vmnet-broker's documentation, without the comma that it lacks too.
const jsonSample = `{
  "description": "My testing network",
  "mode": "shared",
  "subnet": "192.168.42.1"
  "mask": "255.255.255.0"
}
`

const plistHead = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN"
  "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
`

const plistSample = plistHead + `<dict>
  <key>description</key>
  <string>My testing network</string>
  <key>mode</key>
  <string>shared</string>
  <key>subnet</key>
  <string>192.168.42.0</string>
  <key>mask</key>
  <string>255.255.255.0</string>
  <!-- VMs use static IP addresses. -->
  <key>dhcp</key>
  <false/>
  <key>dns_proxy</key>
  <false/>
</dict>
</plist>
`

const plistRules = plistHead + `<dict>
<key>mode</key><string>shared</string>
<key>subnet</key><string>192.168.42.0</string>
<key>mask</key><string>255.255.255.0</string>
<key>mtu</key><integer>1400</integer>
<key>port_forwarding_rules</key>
<array>
  <dict>
    <key>protocol</key>
    <string>tcp</string>
    <key>external_port</key>
    <integer>8080</integer>
    <key>internal_address</key>
    <string>192.168.42.2</string>
    <key>internal_port</key>
    <integer>80</integer>
  </dict>
</array>
<key>dhcp_reservations</key>
<array>
  <dict>
    <key>mac_address</key>
    <string>aa:bb:cc:dd:ee:ff</string>
    <key>ip_address</key>
    <string>192.168.42.10</string>
  </dict>
</array>
</dict>
</plist>
`

func TestImport(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		file, data, want string
		read             func(string, []byte) (*config.Network, []byte, error)
	}{
		{"/etc/vmnet-broker.d/my-testing-network.json", jsonSample, `mode = "shared"
description = "My testing network"
subnet = "192.168.42.0"
mask = "255.255.255.0"
`, config.ImportJSON},
		{"my-network.plist", plistSample, `mode = "shared"
description = "My testing network"
subnet = "192.168.42.0"
mask = "255.255.255.0"
dhcp = false
dns_proxy = false
`, config.ImportPlist},
		{"rules.plist", plistRules, `mode = "shared"
subnet = "192.168.42.0"
mask = "255.255.255.0"
mtu = 1400

[[port_forwarding_rules]]
protocol = "tcp"
external_port = 8080
internal_address = "192.168.42.2"
internal_port = 80

[[dhcp_reservations]]
mac_address = "aa:bb:cc:dd:ee:ff"
ip_address = "192.168.42.10"
`, config.ImportPlist},
	} {
		n, text, err := test.read(test.file, []byte(test.data))
		if err != nil {
			t.Errorf("%s: %v", test.file, err)
			continue
		}
		if d := cmp.Diff(test.want, string(text)); d != "" {
			t.Errorf("%s: %s", test.file, d)
		}
		if n.Subnet != netip.MustParsePrefix("192.168.42.0/24") || n.File != test.file {
			t.Errorf("%+v", n)
		}
		again, err := config.Parse(n.Name+".toml", text)
		if err != nil {
			t.Fatal(err)
		}
		again.File = n.File
		if d := cmp.Diff(n, again, ignore...); d != "" {
			t.Error(d)
		}
	}
}

func TestImportErrors(t *testing.T) {
	t.Parallel()
	dict := func(s string) string { return plistHead + "<dict>\n" + s + "\n</dict></plist>" }
	for _, test := range []struct{ file, data, want string }{
		{"x.json", "", "x.json:1: this is not JSON"},
		{"x.json", "{\n\"mode\": \"host\"\n", "this is not JSON"},
		{"x.json", "[]", "x.json:1: this is a list, and must be a table"},
		{"x.json", "{\"mode\": \"host\"}\n{}", "this is not JSON"},
		{"x.json", "{\"mode\": \"host\",\n \"mode\": \"host\"}", `x.json:2: this is not JSON: "mode" is there twice`},
		{"x.json", "{\"mode\": \"host\",\n \"colour\": 1}", `x.json:2: unknown key "colour"`},
		{"x.json", "{\"mode\": \"host\",\n \"mtu\": 1e3}", `x.json:2: mtu is a number with a fraction`},
		{"x.json", strings.Repeat("[", 1000), "too deep"},
		{"x.toml", "{}", "does not end in .json"},
		{"x.plist", "bplist00", "plutil"},
		{"x.plist", "", "this is not a property list"},
		{"x.plist", "<plist><dict>", "this is not a property list"},
		{"x.plist", plistHead + "</plist>", "<plist> has no value"},
		{"x.plist", dict("<string>a</string>"), "x.plist:6: this is not a property list: <string> stands where a <key> belongs"},
		{"x.plist", dict("<key>mode</key>"), `<key> "mode" has no value`},
		{"x.plist", dict("<key>mode</key><data>YQ==</data>"), "<data> is no value"},
		{"x.plist", dict("<key>mode</key><string>host</string>\n<key>nat44</key><true>x</true>"), "this is not a property list"},
		{"x.plist", dict("<key>mode</key><string>host</string>\n<key>colour</key><true/>"), `x.plist:7: unknown key "colour"`},
		{"x.plist", plistHead + strings.Repeat("<array>", 100), "too deep"},
	} {
		read := config.ImportJSON
		if strings.HasSuffix(test.file, ".plist") {
			read = config.ImportPlist
		}
		_, _, err := read(test.file, []byte(test.data))
		var e *config.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q:\n got %v\nwant %s", test.data, err, test.want)
		}
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(jsonSample))
	f.Add([]byte(plistSample))
	f.Add([]byte(plistRules))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, read := range []func() (*config.Network, []byte, error){
			func() (*config.Network, []byte, error) { return config.ImportJSON("x.json", data) },
			func() (*config.Network, []byte, error) { return config.ImportPlist("x.plist", data) },
		} {
			if _, text, err := read(); err == nil {
				if _, err := config.Parse("x.toml", text); err != nil {
					t.Fatalf("%v in\n%s", err, text)
				}
			}
		}
	})
}
