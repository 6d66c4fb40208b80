// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard/internal/serverlog"
	"github.com/switchboard-ipc/switchboard/mach"
	"github.com/switchboard-ipc/switchboard/network"
	"github.com/switchboard-ipc/switchboard/network/config"
	"github.com/switchboard-ipc/switchboard/protocol/vmnet"
)

// server is one run of the service as a process.
type server struct {
	app         *app
	driver      string
	folder      string
	runtimeDir  string
	name        string
	noAutostart bool
	idleExit    time.Duration
	maxNetworks int
	logLevel    slog.LevelVar
	logFormat   string
}

func (a *app) serveCommand() *cobra.Command {
	s := server{app: a}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "be the network service, in the foreground",
		Long: `Serve checks in the port ` + vmnet.Service + ` at the broker and gives whoever asks there
interfaces on networks. "switchboard acquire" starts it by itself.
A network is made when somebody asks for it, as its file says at that moment, and removed when nobody has held it for the
file's removal_delay, 2 minutes by default. When the broker ends, networks and clients stay; the service goes on with the next broker.
It ends on SIGTERM, with all networks, and when nothing was there for --idle-exit.
Files are NAME.toml in $XDG_CONFIG_HOME/switchboard/networks and /etc/switchboard/networks; "shared" and "host" need none.`,
		Example: `  switchboard-network serve
  switchboard-network serve --networks ./networks --idle-exit 0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.serve(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&s.driver, "driver", "auto", "what makes networks: user, which needs no privilege, or auto, the best that is there")
	f.StringVar(&s.folder, "networks", "", "the folder with the networks' files, in place of the usual ones")
	f.StringVar(&s.runtimeDir, "runtime-dir", "", "the broker's folder (default: where the environment says)")
	f.BoolVar(&s.noAutostart, "no-autostart", false, "do not start a broker when none runs (also SWITCHBOARD_AUTOSTART=0)")
	f.StringVar(&s.name, "name", vmnet.Service, "the port's name")
	f.DurationVar(&s.idleExit, "idle-exit", time.Minute, "end after so long without a network and a client; 0: never")
	f.IntVar(&s.maxNetworks, "max-networks", network.DefaultMaxNetworks, "networks that one connection may hold")
	f.TextVar(&s.logLevel, "log-level", &s.logLevel, "debug, info, warn or error")
	f.StringVar(&s.logFormat, "log-format", "auto", "text, json, or auto: text on a terminal")
	return cmd
}

// check makes usage errors of what can be seen before anything is done.
func (s *server) check() error {
	wrong := func(format string, args ...any) error { return &codeError{exitUsage, fmt.Errorf(format, args...)} }
	switch {
	case s.idleExit < 0:
		return wrong("--idle-exit is %v, and must not be negative", s.idleExit)
	case s.maxNetworks < 1:
		return wrong("--max-networks is %d, and must be 1 at least", s.maxNetworks)
	case s.logFormat != "auto" && s.logFormat != "text" && s.logFormat != "json":
		return wrong("--log-format is %q, and must be auto, text or json", s.logFormat)
	}
	folder, err := checkFolder(s.folder)
	s.folder = folder
	return err
}

// checkFolder makes what --networks says absolute. One that is not there is a usage error.
func checkFolder(folder string) (string, error) {
	if folder == "" {
		return "", nil
	}
	info, err := os.Stat(folder)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no folder", folder)
	}
	if err != nil {
		return "", &codeError{exitUsage, fmt.Errorf("--networks: %w", err)}
	}
	return filepath.Abs(folder)
}

func (s *server) serve(ctx context.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	log := serverlog.New(s.app.stderr, s.logFormat, &s.logLevel)
	driver, why, err := network.ChooseDriver(s.driver, log)
	if err != nil {
		return &codeError{exitUsage, fmt.Errorf("--driver: %w", err)}
	}
	log.Info("driver", "name", driver.Name(), "why", why)
	folders := config.Folders(s.folder, os.Getenv)
	for _, e := range config.List(folders, os.Geteuid()) { // early, and again for whoever asks for one
		err := e.Err
		if err == nil {
			err = driver.Check(e.Network)
		}
		if err != nil {
			log.Warn("a network's file is wrong", "network", e.Name, "err", err)
		}
	}
	signal.Ignore(syscall.SIGPIPE) // whoever read the log may be gone
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	service, err := network.New(network.Config{
		Name: s.name, Mach: mach.Options{RuntimeDir: s.runtimeDir, NoAutostart: s.noAutostart},
		Folders: folders, Driver: driver, MaxNetworks: s.maxNetworks, IdleExit: s.idleExit, Logger: log,
	})
	if err != nil {
		return err
	}
	if err := service.Serve(ctx); err != nil {
		return err
	}
	log.Info("ended")
	return nil
}
