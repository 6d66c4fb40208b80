// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"io"
	"net"
	"strconv"
)

// copyRole listens at PATH, and answers each SIZE bytes with one.
func copyRole(_ context.Context, r *role) error {
	if err := r.need(2); err != nil {
		return err
	}
	size, err := strconv.Atoi(r.args[1])
	if err != nil {
		return err
	}
	l, err := net.Listen("unix", r.args[0])
	if err != nil {
		return err
	}
	defer l.Close()
	r.ready()
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	pixels := make([]byte, size)
	for {
		if _, err := io.ReadFull(c, pixels); err != nil {
			return nil
		}
		if _, err := c.Write([]byte{1}); err != nil {
			return nil
		}
	}
}

func dialPlain(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}
