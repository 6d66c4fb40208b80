// SPDX-License-Identifier: Apache-2.0

// Package frames shares video frames and tensors between processes, in shared memory: one writer, up to 32 readers, no copies.
//
// The writer gets a slot, fills it, and publishes it:
//
//	w, err := frames.Create(ctx, "com.example.camera", frames.Format{FourCC: frames.BGRA, Width: 3840, Height: 2160}, frames.Slots(4))
//	...
//	f, err := w.Loan(ctx)
//	render(f.Plane(0))
//	err = f.Publish()
//
// A reader looks at the pixels where the writer put them:
//
//	r, err := frames.Open(ctx, "com.example.camera", frames.Latest)
//	...
//	f, err := r.Next(ctx)
//	use(f.Plane(0))
//	f.Release()
//
// A published frame does not change. A slot is used again when nobody holds it; so release what you do not need, and copy what you want
// to keep. The planes of a Frame are memory that cannot be written, and that is gone after Release: a slice of it that is kept
// shows other pixels then, or none.
//
// The writer does not wait for readers, unless they ask for it: each chooses [Latest], [Every] or [Lossless].
//
// A parent and its child need no name and no broker: see [Child] and [Parent]. Two programs that have a Unix socket between them
// can use it: see [NewWriter], [Writer.Serve] and [NewReader].
//
// docs/frames.md has the memory to the byte, the protocol, and what each side may rely on when the other dies.
package frames
