// SPDX-License-Identifier: Apache-2.0

package envelope_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

func vectorIdentity(t *testing.T, v *vector) {
	input := v.Expect.Text(t, "input")
	if want := v.Expect.Text(t, "hash16"); envelope.Hash16(input) != want || string(v.bytes(t)) != input {
		t.Errorf("the hash is %s, not %s", envelope.Hash16(input), want)
	}
	if digits, ok := strings.CutPrefix(input, "windows-sid:"); ok && envelope.WindowsIdentity(unhex(t, digits)) != input {
		t.Error(envelope.WindowsIdentity(unhex(t, digits)))
	}
}

func vectorAddress(t *testing.T, v *vector) {
	bare := v.Expect.Text(t, "bare_name")
	if string(v.bytes(t)) != bare || bareName(t, bare) != bare {
		t.Errorf("the name is %s, not %s", bareName(t, bare), bare)
	}
	uid := uint32(v.Setup.Uint(t, "linux_uid"))
	macUID := uint32(v.Setup.Uint(t, "macos_uid"))
	runtimeDir, tmp := v.Setup.Text(t, "XDG_RUNTIME_DIR"), v.Setup.Text(t, "macos_TMPDIR")
	for key, f := range map[string]func() (string, error){
		"linux":                        func() (string, error) { return envelope.LinuxPath(runtimeDir, uid, bare) },
		"linux_no_runtime_dir_uid1000": func() (string, error) { return envelope.LinuxPath("", 1000, bare) },
		"macos":                        func() (string, error) { return envelope.MacPath(tmp, macUID, bare) },
		"macos_leaf":                   func() (string, error) { return envelope.MacLeaf(bare), nil },
		"windows":                      func() (string, error) { return envelope.WindowsPath(bare) },
	} {
		got, err := f()
		switch want := v.Expect.Take(key).(type) {
		case nil:
		case string:
			if got != want || err != nil {
				t.Errorf("%s is %s, %v, not %s", key, got, err, want)
			}
		case map[string]any:
			if len(want) != 1 || err == nil || err.Error() != want["error"] {
				t.Errorf("%s is %s, %v, not %s", key, got, err, want)
			}
		}
	}
	if again, err := envelope.WindowsPath(`\\.\pipe\` + bare); err != nil || again != `\\.\pipe\`+bare {
		t.Error(again, err)
	}
}

// bareName makes a bare name anew from its parts.
func bareName(t *testing.T, bare string) (name string) {
	t.Helper()
	parts := strings.SplitN(bare, "-", 5)
	if len(parts) < 4 {
		t.Fatalf("not a name: %s", bare)
	}
	hash, rest := parts[2], strings.Join(parts[4:], "")
	var err error
	switch parts[3] {
	case "shared":
		name, err = envelope.SharedName(hash)
	case "svc":
		name, err = envelope.PrivateName(hash, rest)
	case "inst":
		name, err = envelope.ExplicitName(hash, rest)
	case "be":
		name, err = envelope.BackendName(hash, [16]byte(unhex(t, rest)))
	default:
		t.Fatalf("unknown class of name: %s", bare)
	}
	if err != nil {
		t.Error(err)
	}
	return name
}

func vectorValid(t *testing.T, v *vector) {
	s, got := string(v.bytes(t)), false
	switch {
	case strings.HasPrefix(v.Name, "sid-hash"):
		got = envelope.ValidHash16(s)
		if _, err := envelope.SharedName(s); (err == nil) != got {
			t.Error(err)
		}
	case strings.HasPrefix(v.Name, "service-name"), strings.HasPrefix(v.Name, "instance-name"):
		got = envelope.ValidName(s)
	case strings.HasPrefix(v.Name, "version"):
		got = envelope.ValidVersion(s)
	default:
		t.Fatal("unknown kind of text")
	}
	if want, ok := v.Expect.Take("valid").(bool); !ok || got != want {
		t.Errorf("%q is valid: %t, not %t", s, got, want)
	}
}

func vectorPolicy(t *testing.T, v *vector) {
	wanted := v.Input.Text(t, "wanted")
	d := envelope.ServiceDefinition{
		MinVersion: v.Input.Text(t, "min_version"), VersionAllowList: texts(v.Input.List(t, "allow_list")),
	}
	results := map[string]*envelope.Refusal{
		"allowed": nil, "below": &envelope.RefusedBelowFloor, "not-in-list": &envelope.RefusedNotAllowed,
	}
	result := v.Expect.Text(t, "result")
	want, known := results[result]
	if got := envelope.CheckPolicy(d, wanted); !known || got != want {
		t.Errorf("%s: %v, not %s", wanted, got, result)
	}
}

// vectorPolicyV2 has what version 2 of the original gets wrong.
func vectorPolicyV2(t *testing.T, v *vector) {
	for key, x := range v.Expect {
		wanted, floor, ok := strings.Cut(key, " vs ")
		wrong, marked := strings.CutSuffix(x.(string), " (wrong)")
		if !ok || !marked || envelope.AtLeast(wanted, floor) == (wrong == "allowed") {
			t.Errorf("%s: %v", key, x)
		}
		v.Expect.Take(key)
	}
}

var definitionFile = regexp.MustCompile(`([a-z0-9-]+)\.servicedef(\.v2)?`)

func vectorDefinition(t *testing.T, v *vector) {
	b := v.bytes(t)
	d, err := envelope.ParseServiceDefinition(b)
	requested, v2 := "zccache", false
	if m := definitionFile.FindStringSubmatch(v.What); m != nil {
		requested, v2 = m[1], m[2] != ""
	} else if err == nil && envelope.ValidName(d.ServiceName) {
		requested = d.ServiceName
	}
	if err != nil {
		err = envelope.DefinitionSyntax(err)
	} else if !v2 { // the original's loader of version 2 checks nothing
		err = envelope.CheckDefinition(requested, d)
	}
	switch load := v.Expect.Text(t, "load"); load {
	case "ok":
		if err != nil {
			t.Error(err)
		}
		wantHex(t, "the encoding", d.Append(nil), v.Hex)
	case "error":
		if err == nil {
			t.Fatal("it is loaded")
		}
		if prefix := v.Expect.Text(t, "detail_prefix"); prefix == "" {
			wantError(t, v, err, "detail")
		} else if !strings.HasPrefix(err.Error(), prefix) {
			t.Errorf("the error is %v, not %s", err, prefix)
		}
	default:
		t.Fatalf("unknown outcome %q", load)
	}
	if refusal := v.Expect.Object(t, "hello_refusal"); refusal != nil {
		got := envelope.DefinitionRefusal(err)
		if uint64(got.Code) != refusal.Uint(t, "code") || got.Reason != refusal.Text(t, "reason") {
			t.Errorf("the refusal is %v", got)
		}
	}
	if want := v.Expect.Text(t, "instance"); want != "" {
		if got, err := envelope.InstanceID(d); got != want {
			t.Errorf("the instance is %s, %v, not %s", got, err, want)
		}
	}
	// The original does not launch it; whether a broker does is its choice.
	if launch := v.Expect.Text(t, "launch"); launch != "" &&
		(launch != "error: backend per_version_binary_dir is empty" || d.PerVersionBinaryDir != "") {
		t.Errorf("unknown outcome of launching: %s", launch)
	}
}

func vectorManifest(t *testing.T, v *vector) {
	m, err := envelope.CheckManifest(v.bytes(t))
	read := v.Expect.Text(t, "read")
	switch kind := v.Expect.Text(t, "kind"); {
	case read == "ok", strings.HasPrefix(read, "ok or "):
		if err != nil {
			t.Fatal(err)
		}
		sealedAgain(t, v, m)
	case read != "error":
		t.Fatalf("unknown outcome %q", read)
	case strings.Contains(v.Expect.Text(t, "why"), "drops the unknown field"):
		if err != nil { // the hash is right, and the original does not see it
			t.Error(err)
		}
	case kind == "Corruption":
		if !errors.Is(err, envelope.ErrCorruption) {
			t.Errorf("the error is %v", err)
		}
	case kind == "SchemaTooNew":
		var schema *envelope.SchemaError
		if !errors.As(err, &schema) || uint64(schema.Got) != v.Expect.Uint(t, "got") || uint64(schema.Supported) != v.Expect.Uint(t, "supported") {
			t.Errorf("the error is %v", err)
		}
	default:
		t.Fatalf("unknown error %q", kind)
	}
}

// sealedAgain checks that what was read is written with the same bytes.
func sealedAgain(t *testing.T, v *vector, m envelope.CacheManifest) {
	wantHex(t, "the manifest", m.Seal().Append(nil), v.Hex)
	bare := m
	bare.SelfSHA256 = nil
	hashed := bare.Append(nil)
	if want := v.Expect.Text(t, "hashed_bytes_hex"); want != "" {
		wantHex(t, "what is hashed", hashed, want)
	}
	sum := sha256.Sum256(hashed)
	for _, key := range []string{"self_sha256", "digest_if_a_first"} { // ours is the order of the keys
		if want := v.Expect.Text(t, key); want != "" && (hex.EncodeToString(sum[:]) != want || string(m.SelfSHA256) != string(sum[:])) {
			t.Errorf("the hash is %x, not %s", sum, want)
		}
	}
	if other := v.Expect.Text(t, "digest_if_b_first"); other != "" {
		b := otherOrder(t, v.bytes(t), unhex(t, other))
		if _, err := envelope.CheckManifest(b); err != nil {
			t.Errorf("with the maps in another order: %v", err)
		}
	}
	v.Expect.Take("better")
}

// otherOrder swaps the two labels of the vector that has two, and puts in their hash.
func otherOrder(t *testing.T, b, sum []byte) []byte {
	t.Helper()
	text := string(b)
	label := regexp.MustCompile(`\x2a\x06\x0a\x01.\x12\x01.`)
	both := label.FindAllString(text, -1)
	if len(both) != 2 {
		t.Fatalf("%d labels", len(both))
	}
	text = strings.Replace(text, both[0]+both[1], both[1]+both[0], 1)
	at := strings.Index(text, "\xb2\x06\x20")
	return []byte(text[:at+3] + string(sum) + text[at+35:])
}

func vectorLifecycle(t *testing.T, v *vector) {
	b := v.bytes(t)
	m, err := envelope.ParseLifecycleEvent(b)
	n := len(m.Append(nil))
	if want := v.Expect.Uint(t, "encoded_len"); err != nil || n != len(b) || uint64(n) != want || n > envelope.MaxLifecycleEvent {
		t.Errorf("%d bytes, not %d: %v", n, want, err)
	}
	if limit := v.Expect.Uint(t, "max"); limit != envelope.MaxLifecycleEvent {
		t.Errorf("the limit is %d", limit)
	}
}
