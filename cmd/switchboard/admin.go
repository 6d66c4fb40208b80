// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
	"github.com/switchboard-ipc/switchboard/runningprocess"
)

const (
	adminTimeout = 30 * time.Second // for connecting, asking and being answered, as the original's client
	adminRequest = 1                // the id of the one request of a connection
	frameSocket  = "broker.sock"    // in the runtime folder: frames are answered there, too
)

var adminVerbs = []string{"status", "dump", "list-instances", "healthz", "readyz", "backend-health", "config", "diagnose",
	"metrics", "shutdown"}

type adminFlags struct {
	json                    bool
	service, output, socket string
}

func (a *app) adminCommand() *cobra.Command {
	var flags adminFlags
	cmd := &cobra.Command{
		Use:   "admin VERB",
		Short: "ask a broker in the terms of running-process: status, health, metrics",
		Long: `Admin sends one admin request of the running-process broker v1 and prints the answer; its exit code is that of the
answer. The verbs: ` + strings.Join(adminVerbs, ", ") + `.
It asks the broker of this user, or with --socket any broker that speaks this protocol, the original included. It starts
none: when nobody answers, it ends with exit code 69.`,
		Example: `  switchboard admin status --json
  switchboard admin backend-health --service zccache
  switchboard admin metrics --socket /run/user/1000/running-process/broker/rpb-v1-9bfab56ad37b16cc-shared.sock`,
		ValidArgs: adminVerbs,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := arguments(1, 1, "one VERB")(cmd, args); err != nil {
				return err
			}
			if !slices.Contains(adminVerbs, args[0]) {
				return fmt.Errorf("unknown verb %q: it is one of %s", args[0], strings.Join(adminVerbs, ", "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return a.admin(ctx, args[0], flags)
		},
	}
	cmd.Flags().BoolVar(&flags.json, "json", false, "ask for JSON; only status has two forms")
	cmd.Flags().StringVar(&flags.service, "service", "", "the service, for backend-health")
	cmd.Flags().StringVar(&flags.output, "output", "", "the bundle's name, for diagnose, which tells what one would hold and writes none")
	cmd.Flags().StringVar(&flags.socket, "socket", "", "the broker's socket (default broker.sock in the runtime folder)")
	return cmd
}

func (a *app) admin(ctx context.Context, verb string, flags adminFlags) error {
	at, err := a.adminSocket(flags.socket)
	if err != nil {
		return err
	}
	number, _ := envelope.ParseAdminVerb(verb)
	reply, err := askAdmin(ctx, at, envelope.AdminRequest{
		Verb: number, JSON: flags.json, ServiceName: flags.service, OutputPath: flags.output,
	})
	if err != nil {
		return a.cannotAsk(err, flags.socket)
	}
	body := reply.Body
	if body != "" && !strings.HasSuffix(body, "\n") {
		body += "\n"
	}
	if _, err := io.WriteString(a.stdout, body); err != nil {
		return err
	}
	if reply.ExitCode != 0 {
		return &codeError{int(min(reply.ExitCode, 255)), nil} // a larger one would lose its upper bits, and perhaps be 0
	}
	return nil
}

// adminSocket is the address of the broker to ask.
func (a *app) adminSocket(path string) (address, error) {
	if path == "" {
		dir, err := a.folder()
		return address{"unix", filepath.Join(dir, frameSocket)}, err
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return address{}, fmt.Errorf("cannot resolve the socket's path: %w", err)
	}
	return address{"unix", path}, nil
}

// cannotAsk gives an error of askAdmin its exit code, and says in short that nobody is there.
func (a *app) cannotAsk(err error, socket string) error {
	absent := errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
	switch {
	case absent && socket == "":
		dir, err := a.folder()
		if err != nil {
			return err
		}
		return hinted(&codeError{exitUnavailable, &noBrokerError{dir}})
	case absent:
		return &codeError{exitUnavailable, fmt.Errorf("no broker listens at %s", socket)}
	case errors.Is(err, os.ErrPermission):
		return &codeError{exitNotAllowed, err}
	case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded):
		return &codeError{exitTryAgain, fmt.Errorf("no answer within %v", adminTimeout)}
	}
	var usage *usageError
	if errors.As(err, &usage) {
		return err
	}
	return &codeError{exitUnavailable, err}
}

// askAdmin sends one request on a connection of its own, and reads the answer.
func askAdmin(ctx context.Context, at address, req envelope.AdminRequest) (envelope.AdminReply, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	c, err := at.dial(ctx)
	if err != nil {
		return envelope.AdminReply{}, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	frame := envelope.Frame{EnvelopeVersion: envelope.Version, PayloadProtocol: envelope.Admin, RequestID: adminRequest,
		Payload: req.Append(nil)}
	if _, err := c.Write(frame.AppendFramed(nil)); err != nil && !errors.Is(err, syscall.EPIPE) {
		return envelope.AdminReply{}, err // who refuses early has perhaps said why: read on
	}
	reply, err := readFrame(c)
	if err != nil {
		return envelope.AdminReply{}, err
	}
	return adminReply(reply)
}

// readFrame reads one frame.
func readFrame(from io.Reader) (envelope.Frame, error) {
	f, err := runningprocess.ReadFrame(from, 0)
	var framing *envelope.FramingError
	var length *envelope.LengthError
	var system *net.OpError
	switch {
	case errors.Is(err, io.EOF):
		err = errors.New("the broker closed the connection without an answer")
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("the broker closed the connection within its answer")
	case errors.As(err, &framing) || errors.As(err, &length):
		err = fmt.Errorf("the answer is no frame: %w", err)
	case errors.As(err, &system):
		err = fmt.Errorf("cannot read the answer: %w", err)
	}
	return f, err
}

// adminReply checks that a frame answers the request, in the order of the protocol (section 3).
func adminReply(f envelope.Frame) (envelope.AdminReply, error) {
	wrong := ""
	switch {
	case f.EnvelopeVersion != envelope.Version:
		wrong = "envelope_version is not v1"
	case f.Kind != envelope.Response:
		wrong = "kind is not RESPONSE"
	case f.PayloadProtocol == envelope.Control:
		if refused := refusalOf(f); refused != "" {
			return envelope.AdminReply{}, errors.New("the broker refused: " + refused)
		}
		wrong = "payload_protocol is not admin"
	case f.PayloadProtocol != envelope.Admin:
		wrong = "payload_protocol is not admin"
	case f.PayloadEncoding != envelope.None:
		wrong = "payload is compressed"
	case f.RequestID != adminRequest:
		wrong = "request_id is another"
	}
	if wrong != "" {
		return envelope.AdminReply{}, errors.New("the answer makes no sense: " + wrong)
	}
	return envelope.ParseAdminReply(f.Payload)
}

// refusalOf is the reason in a frame that refuses a Hello; brokers without an admin side answer so.
func refusalOf(f envelope.Frame) string {
	reply, err := envelope.ParseHelloReply(f.Payload)
	if err != nil || reply.Refused == nil {
		return ""
	}
	return reply.Refused.Reason
}
