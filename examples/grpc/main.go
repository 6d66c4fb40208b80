// SPDX-License-Identifier: Apache-2.0

// Command grpc is a gRPC server with a name instead of a port, and a client that calls it by name. The service is
// gRPC's own health check.
//
//	go run ./examples/grpc serve &
//	go run ./examples/grpc check
//
// The server can also be launched by its first caller: docs/daemons.md has the definition.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/switchboard-ipc/switchboard"
)

const name = "com.example.grpc"

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 1 && args[0] == "serve":
		err = serve(ctx)
	case len(args) == 1 && args[0] == "check":
		err = check(ctx, os.Stdout)
	default:
		err = errors.New("usage: grpc serve | grpc check")
	}
	if err != nil {
		log.Print(err)
		os.Exit(switchboard.ExitCode(err))
	}
}

// serve answers calls until ctx ends.
func serve(ctx context.Context) error {
	l, err := switchboard.Listen(ctx, name)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	status := health.NewServer()
	status.SetServingStatus(name, grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, status)
	defer context.AfterFunc(ctx, server.GracefulStop)()
	return server.Serve(l)
}

// check calls the server once. The connection needs no TLS: it never leaves the machine, and the kernel vouches for
// who is at its other end.
func check(ctx context.Context, out io.Writer) error {
	var server atomic.Int64 // the process that took the connection
	c, err := grpc.NewClient("passthrough:///"+name,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, name string) (net.Conn, error) {
			c, err := switchboard.Dial(ctx, name)
			if err != nil {
				return nil, err
			}
			who, err := switchboard.Peer(c)
			if err != nil {
				c.Close()
				return nil, err
			}
			server.Store(int64(who.PID))
			return c, who.Close()
		}))
	if err != nil {
		return err
	}
	defer c.Close()
	answer, err := grpc_health_v1.NewHealthClient(c).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: name})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s is %s, says process %d\n", name, answer.Status, server.Load())
	return err
}
