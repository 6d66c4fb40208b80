// SPDX-License-Identifier: Apache-2.0

package servedef

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/switchboard-ipc/switchboard/internal/definition"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// Versions returns the versions for which a definition of theirs makes one of
// ours: the one that is asked for, or all in its allow-list that its floor lets
// through, as they are listed. A definition with neither needs a version, because
// one of ours answers their clients only with an equal one.
func Versions(d envelope.ServiceDefinition, asked string) ([]string, error) {
	if asked != "" {
		return []string{asked}, allowed(d, asked)
	}
	if len(d.VersionAllowList) == 0 {
		return nil, fmt.Errorf("the definition of %s has no version_allow_list, so it does not say which version its program is: give one with --version, such as 1.4.0", d.ServiceName)
	}
	var versions []string
	for _, v := range d.VersionAllowList {
		if allowed(d, v) == nil && !slices.Contains(versions, v) {
			versions = append(versions, v)
		}
	}
	if versions == nil {
		return nil, fmt.Errorf("the definition of %s allows no version: all in its version_allow_list are below its min_version, %s", d.ServiceName, d.MinVersion)
	}
	return versions, nil
}

// allowed applies the definition's floor and allow-list.
func allowed(d envelope.ServiceDefinition, version string) error {
	if !envelope.ValidVersion(version) {
		return fmt.Errorf("%q is not a version: write MAJOR.MINOR.PATCH, such as 1.4.0", version)
	}
	if r := envelope.CheckPolicy(d, version); r != nil {
		return fmt.Errorf("the definition of %s does not allow %s: %s", d.ServiceName, version, r.Reason)
	}
	return nil
}

// FileName is what the file of a definition of ours is called.
func FileName(service, version string) string {
	return service + "@" + version + definition.Suffix
}

// ToTOML writes a definition of ours (internal/definition) that runs what theirs
// does, for one version. The program is told what their broker would have told it
// (section 8), so a backend made for theirs finds its listener; what ours has no
// key for is in comments. The result is valid, or there is an error.
func ToTOML(d envelope.ServiceDefinition, version string) ([]byte, error) {
	if err := envelope.CheckDefinition(d.ServiceName, d); err != nil {
		return nil, err
	}
	if err := allowed(d, version); err != nil {
		return nil, err
	}
	instance, err := envelope.InstanceID(d)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# From the definition of %s for the running-process broker. What it says beside, and Switchboard has no key for:\n", d.ServiceName)
	writeComments(&b, d, instance)
	fmt.Fprintf(&b, "name = %s\nversion = %s\nexec = [%s]\naccept = %s\n\n", quote(d.ServiceName), quote(version), quote(d.BinaryPath), quote(string(definition.Listener)))
	b.WriteString("# What a backend made for that broker looks for: its listening socket is descriptor 3.\n[env]\n")
	for _, v := range variables(d, version, instance) {
		fmt.Fprintf(&b, "%s = %s\n", v[0], quote(v[1]))
	}
	if _, err := definition.Parse(FileName(d.ServiceName, version), b.Bytes()); err != nil {
		return nil, cannotSay(d.ServiceName, version, err)
	}
	return b.Bytes(), nil
}

// cannotSay is for what their rules allow and ours do not: leading zeros in a version, a NUL byte in a path.
func cannotSay(service, version string, err error) error {
	var fault *definition.Error
	if errors.As(err, &fault) {
		return fmt.Errorf("%s %s cannot be a definition of Switchboard: %s", service, version, fault.Reason)
	}
	return err
}

// writeComments tells what theirs says and ours does not.
func writeComments(b *bytes.Buffer, d envelope.ServiceDefinition, instance string) {
	fmt.Fprintf(b, "#   broker instance         %s\n", instance)
	if d.PerVersionBinaryDir != "" {
		fmt.Fprintf(b, "#   per_version_binary_dir  %s\n", quote(d.PerVersionBinaryDir))
	}
	if d.MinVersion != "" {
		fmt.Fprintf(b, "#   min_version             %s\n", quote(d.MinVersion))
	}
	if len(d.VersionAllowList) > 0 {
		fmt.Fprintf(b, "#   version_allow_list      %s\n", strings.Join(d.VersionAllowList, " "))
	}
	for _, key := range slices.Sorted(maps.Keys(d.Labels)) {
		fmt.Fprintf(b, "#   label                   %s = %s\n", quote(key), quote(d.Labels[key]))
	}
	if h := d.HTTPServer; h != nil {
		fmt.Fprintf(b, "#   http_server             bind_addr %s, health_path %s, display_name %s\n", quote(h.BindAddr), quote(h.HealthPath), quote(h.DisplayName))
	}
	b.WriteString("\n")
}

// variables returns what a backend of theirs is told, as their broker tells it.
func variables(d envelope.ServiceDefinition, version, instance string) [][2]string {
	const prefix = "RUNNING_PROCESS_BROKER_V1_"
	return [][2]string{
		{"RUNNING_PROCESS_IS_DAEMON", "1"},
		{"RUNNING_PROCESS_BROKER_LISTENER_FD", "3"},
		{prefix + "SERVICE_NAME", d.ServiceName},
		{prefix + "SERVICE_VERSION", version},
		{prefix + "BACKEND_PIPE", "${SWITCHBOARD_SOCKET}"},
		{prefix + "BACKEND_NAMESPACE", instance},
		{prefix + "INSTANCE", instance},
	}
}

// quote makes a basic string of TOML. It has no line break and no control character.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || 0x7f <= r && r < 0xa0:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
