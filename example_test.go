// SPDX-License-Identifier: Apache-2.0

package switchboard_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/switchboard-ipc/switchboard"
	"github.com/switchboard-ipc/switchboard/broker"
)

// A service and its caller. They are in one program here, with a broker of their own, so that the example runs anywhere;
// programs that use the user's broker call switchboard.Listen and switchboard.Dial instead.
func Example() {
	dir, err := os.MkdirTemp("", "switchboard-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	b, err := broker.New(broker.Config{RuntimeDir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx) }()
	defer func() { cancel(); <-served }()

	c := switchboard.New(switchboard.Config{RuntimeDir: dir})
	defer c.Close()
	l, err := c.Listen(ctx, "com.example.web")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })}
	go server.Serve(l)
	defer server.Close()

	web := &http.Client{Transport: &http.Transport{DialContext: c.DialContext, DisableKeepAlives: true}}
	r, err := web.Get("http://com.example.web/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	fmt.Printf("%s\n", text)
	// Output: hello
}
