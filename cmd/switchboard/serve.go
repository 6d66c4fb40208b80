// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/switchboard-ipc/switchboard/broker"
	"github.com/switchboard-ipc/switchboard/internal/serverlog"
)

func (a *app) serveCommand() *cobra.Command {
	var s server
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "be the broker, in the foreground",
		Long: `Serve is the broker. There is seldom a reason to start it by hand: whatever needs a broker starts one.
It prints one line when it is ready, and ends on SIGTERM, on switchboard shutdown, or when it was idle for long enough.
Systemd may start it (Type=notify) and bind its sockets (broker.sock, session.sock and bootstrap.sock, by FileDescriptorName).
On SIGHUP it reads its configuration file again: all of it counts at once, but for the format of the log, what is read
once, and the folders with definitions. Those are: --services in the order given, services of the file,
$XDG_CONFIG_HOME/switchboard/services, /etc/switchboard/services; what is in them is read when it is needed.`,
		Example: `  switchboard serve --config /etc/switchboard.toml

  # the file; these are the defaults
  services  = []               # more folders with definitions, absolute; read once
  running_process = ["auto"]   # where clients of the running-process broker are served: auto, off, or absolute paths
  idle_exit = "0"              # end after so long without a name; 0: never
  allow = []                   # "launch": Mach messages may start programs; read once
  [mach]
  short_check_in = false       # answer check_in with 40 bytes in its newer form, too; read once
  [log]
  level  = "info"              # debug, info, warn, error
  format = "auto"              # text on a terminal, else json
  [limits]
  names_per_session   = 1024
  watches_per_session = 64
  waiting_callers     = 1024   # for each service`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			starter, idle, err := takeStarter()
			if err == nil {
				s.app, s.starter, s.idle = a, &starter, idle
				err = s.serve(cmd.Context())
			}
			starter.tell(err)
			return err
		},
	}
	cmd.Flags().StringVar(&s.file, "config", "", "the configuration, a TOML file")
	cmd.Flags().StringArrayVar(&s.services, "services", nil, "one more folder with definitions; may be repeated")
	cmd.Flags().StringArrayVar(&s.addresses, "running-process", nil,
		"serve clients of the running-process broker: auto (their shared address, unless somebody else does), off, or the path of a socket; may be repeated (default auto)")
	cmd.Flags().StringSliceVar(&s.allow, "allow", nil,
		"launch: Mach messages may start programs, for this user and outside of sandboxes")
	cmd.Flags().BoolVar(&s.shortCheckIn, "mach-short-check-in", false,
		"answer the newer check_in of Mach messages, too, with 40 bytes, as clients of launchd-329 expect")
	return cmd
}

// server is one run of the broker as a process.
type server struct {
	app       *app
	file      string
	services  []string // folders with definitions, beside those of the configuration
	addresses []string // --running-process
	allow     []string // verbs, beside those of the configuration

	shortCheckIn bool // --mach-short-check-in

	starter *starter
	idle    time.Duration // what the starter wants, if the configuration says nothing

	level slog.LevelVar
	log   *slog.Logger
	dir   string
}

// serve runs the broker until a signal, a shutdown or idleness ends it.
func (s *server) serve(ctx context.Context) error {
	settings, err := readSettings(s.file)
	if err != nil {
		return err
	}
	sockets, err := activatedSockets()
	if err != nil {
		return err
	}
	if s.dir, err = s.app.folder(); err != nil {
		return err
	}
	services, err := absoluteFolders(s.services)
	if err != nil {
		return err
	}
	var output io.Writer = s.app.stderr
	if s.starter.ready != nil {
		output = &logFile{dir: s.dir}
	}
	s.level.Set(settings.Log.Level)
	s.log = serverlog.New(output, string(settings.Log.Format), &s.level)
	services = append(services, settings.Services...)
	addresses, err := runningProcess(s.addresses, settings.RunningProcess)
	if err != nil {
		return err
	}
	if err := checkVerbs(s.allow); err != nil {
		return usagef("--allow: %w", err)
	}
	warnUnreadable(s.log, services)

	// Signals that come while the broker starts end it too, as soon as it serves.
	signal.Ignore(syscall.SIGPIPE) // whoever read the log may be gone, which is no reason to die with services running
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)

	b, err := broker.New(broker.Config{
		RuntimeDir:     s.dir,
		Listeners:      sockets,
		IdleExit:       s.idleExit(settings),
		Limits:         settings.Limits.broker(),
		Logger:         s.log,
		Ready:          s.ready,
		Services:       services,
		RunningProcess: addresses,
		Allow:          append(s.allow, settings.Allow...),
		Mach:           broker.Mach{ShortCheckIn: s.shortCheckIn || settings.Mach.ShortCheckIn},
		Subreaper:      true,
	})
	if err != nil {
		return err
	}
	return s.run(ctx, b, again)
}

// run serves, and meanwhile reads the configuration again when it is told to.
func (s *server) run(ctx context.Context, b *broker.Broker, again <-chan os.Signal) error {
	done := make(chan struct{})
	var reloads sync.WaitGroup
	reloads.Go(func() {
		for {
			select {
			case <-again:
				s.reload(b)
			case <-done:
				return
			}
		}
	})
	defer context.AfterFunc(ctx, func() { s.notify(daemon.SdNotifyStopping) })()
	err := b.Serve(ctx)
	close(done)
	reloads.Wait()
	return err
}

// absoluteFolders makes folders good for every working folder.
func absoluteFolders(folders []string) ([]string, error) {
	var all []string
	for _, folder := range folders {
		if folder == "" { // it would be the working folder
			return nil, usagef("--services is empty, and must be a folder with definitions")
		}
		folder, err := filepath.Abs(folder)
		if err != nil {
			return nil, fmt.Errorf("cannot resolve a folder with definitions: %w", err)
		}
		all = append(all, folder)
	}
	return all, nil
}

// warnUnreadable tells of folders that were asked for and have nothing to offer now: a misspelt one looks like an empty one.
func warnUnreadable(log *slog.Logger, folders []string) {
	for _, folder := range folders {
		_, err := os.ReadDir(folder)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			log.Warn("a folder with definitions does not exist: nothing is launched from it until it does", "folder", folder)
		case err != nil:
			log.Warn("a folder with definitions cannot be read: nothing is launched from it", "folder", folder, "err", err)
		}
	}
}

// ready tells everybody who wants to know that every socket can be connected to.
func (s *server) ready() {
	s.log.Info("ready", "folder", s.dir, "pid", os.Getpid())
	s.starter.tell(nil)
	fmt.Fprintf(s.app.stdout, "switchboard: ready at %s (pid %d)\n", s.dir, os.Getpid())
	s.notify(daemon.SdNotifyReady)
}

// reload reads the configuration again. A faulty file changes nothing, and is told in the log.
func (s *server) reload(b *broker.Broker) {
	settings, err := readSettings(s.file)
	if err != nil {
		s.log.Error("configuration is left as it was", "file", s.file, "err", err)
		return
	}
	s.level.Set(settings.Log.Level)
	b.SetLimits(settings.Limits.broker())
	b.SetIdleExit(s.idleExit(settings))
	s.log.Info("configuration was read again", "file", s.file)
}

// idleExit is what the configuration says, else what the starter wants.
func (s *server) idleExit(settings settings) time.Duration {
	if settings.IdleExit != nil {
		return time.Duration(*settings.IdleExit)
	}
	return s.idle
}

// notify tells systemd, if it started us.
func (s *server) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("cannot notify systemd", "err", err)
	}
}
