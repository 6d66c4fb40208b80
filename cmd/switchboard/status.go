// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "tell about the broker that runs",
		Long:  `Status tells about the broker that runs. It does not start one: without a broker it ends with exit code 69.`,
		Args:  arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.status(cmd.Context(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) status(ctx context.Context, asJSON bool) error {
	client := a.onlyRunning()
	defer client.Close()
	s, err := client.Status(ctx)
	if err != nil {
		return hinted(a.noBroker(err))
	}
	if asJSON {
		return printJSON(a.stdout, statusJSON(s))
	}
	_, err = fmt.Fprintf(a.stdout, `broker         pid %d, uid %d, version %s
folder         %s
up since       %s (%s)
sessions       %d
names          %d, of them ports: %d, in namespaces: %d
watches        %d
calls          %d handed over, %d refused, %d waiting
backends       %d, launches: %d
descriptors    %d
services       %s
`, s.PID, s.UID, s.Version, s.Folder, s.Started.Local().Format(time.DateTime),
		time.Since(s.Started).Round(time.Second), s.Sessions, s.Names, s.Ports, s.Namespaces, s.Watches,
		s.HandedOver, s.Refused, s.Waiting, s.Backends, s.Launches, s.Descriptors,
		dash(strings.Join(s.Services, "\n"+strings.Repeat(" ", len("services       ")))))
	return err
}

// noBroker says in short that no broker runs, if that is the error of a command that does not start one: what the library
// advises is for those who want one.
func (a *app) noBroker(err error) error {
	var e *switchboard.Error
	if !errors.As(err, &e) || e.Code != switchboard.CodeUnavailable || !strings.HasPrefix(e.Text, "no broker runs in ") {
		return err
	}
	dir, err := a.folder()
	if err != nil {
		return err
	}
	return &codeError{exitUnavailable, &noBrokerError{dir}}
}

// noBrokerError: no broker runs in a folder.
type noBrokerError struct{ dir string }

func (e *noBrokerError) Error() string { return "no broker runs in " + e.dir }

// hinted adds what starts a broker to the error that there is none.
func hinted(err error) error {
	var none *noBrokerError
	if !errors.As(err, &none) {
		return err
	}
	return fmt.Errorf("%w\nnothing starts it for this command: `switchboard serve` does, and so does any call of a name", err)
}

// statusReport is the output of status --json.
type statusReport struct {
	PID         int      `json:"pid"`
	UID         int      `json:"uid"`
	Version     string   `json:"version"`
	Folder      string   `json:"folder"`
	Started     string   `json:"started"` // RFC 3339 with milliseconds
	Sessions    int      `json:"sessions"`
	Names       int      `json:"names"`
	Ports       int      `json:"ports"` // of names
	Namespaces  int      `json:"namespaces"`
	Watches     int      `json:"watches"`
	Waiting     int      `json:"waiting"`
	HandedOver  int      `json:"handed_over"`
	Refused     int      `json:"refused"`
	Descriptors int      `json:"descriptors"`
	Backends    int      `json:"backends"`
	Launches    int      `json:"launches"`
	Services    []string `json:"services"` // folders with definitions
}

func statusJSON(s switchboard.Status) statusReport {
	return statusReport{
		PID: s.PID, UID: s.UID, Version: s.Version, Folder: s.Folder, Started: timestamp(s.Started),
		Sessions: int(s.Sessions), Names: int(s.Names), Ports: s.Ports, Namespaces: int(s.Namespaces), Watches: int(s.Watches),
		Waiting: int(s.Waiting), HandedOver: int(s.HandedOver), Refused: int(s.Refused), Descriptors: int(s.Descriptors),
		Backends: s.Backends, Launches: int(s.Launches), Services: append([]string{}, s.Services...),
	}
}
