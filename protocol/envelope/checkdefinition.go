// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"errors"
	"fmt"
	"strings"
)

// Faults of a definition's isolation (section 11).
var (
	errIsolationUnknown  = errors.New("service-definition isolation is invalid: unknown BrokerIsolation value")
	errIsolationNameless = errors.New("service-definition isolation is invalid: EXPLICIT_INSTANCE requires explicit_instance")
	errIsolationNamed    = errors.New("service-definition isolation is invalid: explicit_instance must be empty unless isolation is EXPLICIT_INSTANCE")
)

// CheckDefinition checks what was read from the file of the service requested,
// in the order of section 11 and with its texts. A name or version that is
// none is a *NameError; see DefinitionRefusal for what a client is told.
// Whether paths exist is not looked at.
func CheckDefinition(requested string, d ServiceDefinition) error {
	if err := CheckName(d.ServiceName); err != nil {
		return err
	}
	if d.ServiceName != requested {
		return fmt.Errorf("service-definition requested %s but file declares %s", quote(requested), quote(d.ServiceName))
	}
	if d.BinaryPath == "" {
		return errors.New(`service-definition binary_path is invalid: "" (must not be empty)`)
	}
	if err := checkAbsolute("binary_path", d.BinaryPath); err != nil {
		return err
	}
	if d.PerVersionBinaryDir != "" {
		if err := checkAbsolute("per_version_binary_dir", d.PerVersionBinaryDir); err != nil {
			return err
		}
	}
	if d.MinVersion != "" {
		if err := CheckVersion(d.MinVersion); err != nil {
			return err
		}
	}
	for _, v := range d.VersionAllowList {
		if err := CheckVersion(v); err != nil {
			return err
		}
	}
	_, err := InstanceID(d)
	return err
}

func checkAbsolute(field, path string) error {
	if strings.HasPrefix(path, "/") {
		return nil
	}
	return fmt.Errorf("service-definition %s is invalid: %s (must be absolute)", field, quote(path))
}

// DefinitionSyntax returns the error of a definition that cannot be decoded, with
// the text of section 11. err is that of ParseServiceDefinition.
func DefinitionSyntax(err error) error {
	return fmt.Errorf("service-definition protobuf decode failed: %w", err)
}

// InstanceID returns which broker is to serve a service: "shared",
// "private:SERVICE" or "explicit:INSTANCE" (section 6.1). Errors are those of
// CheckDefinition for its isolation.
func InstanceID(d ServiceDefinition) (string, error) {
	if d.Isolation > ExplicitInstance {
		return "", errIsolationUnknown
	}
	if d.Isolation != ExplicitInstance && d.ExplicitInstance != "" {
		return "", errIsolationNamed
	}
	switch d.Isolation {
	case SharedBroker:
		return "shared", nil
	case PrivateBroker:
		return "private:" + d.ServiceName, nil
	}
	if d.ExplicitInstance == "" {
		return "", errIsolationNameless
	}
	if err := CheckName(d.ExplicitInstance); err != nil {
		return "", err
	}
	return "explicit:" + d.ExplicitInstance, nil
}
