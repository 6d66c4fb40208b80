// SPDX-License-Identifier: Apache-2.0

package mach

import "context"

// Wait waits until the connection ends, and returns why: the error that calls get from then on, [ErrClosed] after Close. It returns the
// context's error if that ends first. Other calls may go on meanwhile.
func (b *Bootstrap) Wait(ctx context.Context) error {
	cl := &call{done: make(chan struct{})} // of a request that is never sent
	if err := b.begin(cl); err != nil {
		return err
	}
	defer b.forget(cl)
	var err error
	select {
	case <-cl.done:
	case <-b.role:
		err = b.lead(ctx, cl)
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	<-cl.done
	return cl.err
}
