// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/switchboard-ipc/switchboard/broker"
)

// settings is the configuration file of serve.
type settings struct {
	// IdleExit is after how long without lease or backend the broker ends; 0: never. Nil: the file does not say.
	IdleExit *duration `toml:"idle_exit"`
	Log      struct {
		Level  slog.Level `toml:"level"`  // "debug", "info", "warn", "error"
		Format logFormat  `toml:"format"` // "auto", "text", "json"
	} `toml:"log"`
	Limits limits `toml:"limits"`
	// Services are more folders with definitions, absolute.
	Services []string `toml:"services"`

	RunningProcess []string `toml:"running_process"`

	// Allow are the verbs that are served only where they are allowed.
	Allow []string `toml:"allow"`
	Mach  struct {
		ShortCheckIn bool `toml:"short_check_in"`
	} `toml:"mach"`
}

// check refuses folders that would depend on where the broker was started, and verbs that do not exist.
func (s *settings) check() error {
	for i, folder := range s.Services {
		if !filepath.IsAbs(folder) {
			return fmt.Errorf(": services[%d], %q, is not an absolute path", i, folder)
		}
	}
	if err := checkVerbs(s.Allow); err != nil {
		return fmt.Errorf(": allow: %w", err)
	}
	return nil
}

// limits are the broker's bounds; 0 is the broker's own default.
type limits struct {
	NamesPerSession   count `toml:"names_per_session"`
	WatchesPerSession count `toml:"watches_per_session"`
	WaitingCallers    count `toml:"waiting_callers"`
}

func (l limits) broker() broker.Limits {
	return broker.Limits{
		NamesPerSession:   int(l.NamesPerSession),
		WatchesPerSession: int(l.WatchesPerSession),
		WaitingCallers:    int(l.WaitingCallers),
	}
}

// checkVerbs refuses to allow what does not exist.
func checkVerbs(verbs []string) error {
	for _, v := range verbs {
		if v != broker.AllowLaunch {
			return fmt.Errorf("%q cannot be allowed: what can is %q", v, broker.AllowLaunch)
		}
	}
	return nil
}

// count is a number of things.
type count uint32

// duration is a time.Duration written like "5m".
type duration time.Duration

// UnmarshalText reads "90s", "5m", "0".
func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration like \"90s\" or \"5m\"", text)
	}
	*d = duration(v)
	return nil
}

// logFormat is how the log is written; "auto" is text on a terminal and JSON elsewhere.
type logFormat string

// UnmarshalText reads "auto", "text" or "json".
func (f *logFormat) UnmarshalText(text []byte) error {
	switch logFormat(text) {
	case "auto", "text", "json":
		*f = logFormat(text)
		return nil
	}
	return fmt.Errorf("%q is no log format: it is \"auto\", \"text\" or \"json\"", text)
}

// readSettings reads the configuration file; without a file all is as built in. Errors name the file and the line.
func readSettings(file string) (settings, error) {
	var s settings
	if file == "" {
		return s, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return s, &codeError{exitConfig, fmt.Errorf("cannot read the configuration: %w", err)}
	}
	if err := parseSettings(data, &s); err != nil {
		return s, &codeError{exitConfig, fmt.Errorf("cannot use the configuration: %s%w", file, err)}
	}
	return s, nil
}

// parseSettings decodes the text. Its errors begin with ":LINE: ".
func parseSettings(data []byte, s *settings) error {
	err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(s)
	var unknown *toml.StrictMissingError
	var fault *toml.DecodeError
	switch {
	case err == nil:
		return s.check()
	case errors.As(err, &unknown):
		row, _ := unknown.Errors[0].Position()
		return fmt.Errorf(":%d: unknown key %q", row, strings.Join(unknown.Errors[0].Key(), "."))
	case errors.As(err, &fault):
		row, _ := fault.Position()
		return fmt.Errorf(":%d: %w", row, err)
	}
	return fmt.Errorf(": %w", err)
}

// runningProcess decides where clients of the running-process broker are served: by the flags, else by the configuration, else at their
// shared address.
func runningProcess(flags, configured []string) ([]string, error) {
	from, list := "--running-process", flags
	if len(list) == 0 {
		from, list = "running_process", configured
	}
	if list == nil {
		return []string{broker.Auto}, nil
	}
	var addresses []string
	for _, address := range list {
		switch {
		case address == "off" && len(list) > 1:
			return nil, usagef("%s has off and something else", from)
		case address == "off":
		case address == broker.Auto || filepath.IsAbs(address):
			addresses = append(addresses, address)
		case from == "--running-process" && address != "":
			absolute, err := filepath.Abs(address)
			if err != nil {
				return nil, err
			}
			addresses = append(addresses, absolute)
		default:
			return nil, usagef("%s has %q, and wants auto, off, or the absolute path of a socket", from, address)
		}
	}
	return addresses, nil
}
