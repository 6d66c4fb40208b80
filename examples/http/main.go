// SPDX-License-Identifier: Apache-2.0

// Command http is a web server with a name instead of a port, and a client that calls it by name.
//
//	go run ./examples/http serve &
//	go run ./examples/http get /greeting
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/switchboard-ipc/switchboard"
)

const name = "com.example.http"

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 1 && args[0] == "serve":
		err = serve(ctx)
	case len(args) == 2 && args[0] == "get":
		err = get(ctx, args[1], os.Stdout)
	default:
		err = errors.New("usage: http serve | http get /PATH")
	}
	if err != nil {
		log.Print(err)
		os.Exit(switchboard.ExitCode(err))
	}
}

// serve answers requests until ctx ends.
func serve(ctx context.Context) error {
	l, err := switchboard.Listen(ctx, name)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(greet),
		ConnContext:       rememberConn,
		ReadHeaderTimeout: 10 * time.Second,
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(grace)
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

type connKey struct{}

// rememberConn lets handlers ask who is at the other end.
func rememberConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// greet answers with who asked, as the kernel knows them.
func greet(w http.ResponseWriter, r *http.Request) {
	who, err := switchboard.Peer(r.Context().Value(connKey{}).(net.Conn))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer who.Close()
	fmt.Fprintf(w, "%s for process %d of user %d\n", r.URL.Path, who.PID, who.UID)
}

// get asks the server for a path. The host of the URL is the name.
func get(ctx context.Context, path string, out io.Writer) error {
	transport := &http.Transport{DialContext: switchboard.DialContext}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+name+path, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(out, response.Body)
	return err
}
