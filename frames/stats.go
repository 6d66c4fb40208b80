// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
)

// Stats is what a writer knows about its channel. Times are in nanoseconds.
type Stats struct {
	Name      string        `json:"name,omitempty"`
	Format    string        `json:"format"`
	FourCC    string        `json:"fourcc,omitempty"` // DRM's code
	Width     int           `json:"width,omitempty"`
	Height    int           `json:"height,omitempty"`
	FrameSize int           `json:"frame_bytes"`
	Epoch     uint32        `json:"epoch"`
	Slots     int           `json:"slots"`      // that the writer works with
	SlotsUsed int           `json:"slots_used"` // that have memory, with those that readers held
	Published uint64        `json:"published"`
	Dropped   uint64        `json:"dropped"` // loans that were not published
	Evicted   uint64        `json:"evicted"` // readers
	Sequence  uint64        `json:"sequence"`
	Age       int64         `json:"age_ns"` // of the channel
	Readers   []ReaderStats `json:"readers"`
}

// ReaderStats is one reader; what it says about itself is its own word.
type ReaderStats struct {
	PID      int    `json:"pid"`
	Mode     string `json:"mode"`
	Held     int    `json:"held"`
	Behind   uint64 `json:"behind"` // frames between the newest and the one that it wants next
	Received uint64 `json:"received"`
	Missed   uint64 `json:"missed"`
	Evicted  bool   `json:"evicted"`
	P50      int64  `json:"age_p50_ns"` // of frames when they were received, at most
	P99      int64  `json:"age_p99_ns"`
}

// Stats returns what there is to know now.
func (w *Writer) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.pool.format
	s := Stats{
		Name: w.name, Format: f.String(), Width: f.Width, Height: f.Height, FrameSize: f.Size(), Epoch: w.pool.epoch, Slots: w.pool.base, SlotsUsed: w.pool.used,
		Published: w.counts.published, Dropped: w.counts.dropped, Evicted: w.counts.evicted, Sequence: w.sequence,
		Age: w.clock.now() - w.started, Readers: []ReaderStats{},
	}
	if f.FourCC != 0 {
		s.FourCC = f.FourCC.Code()
	}
	for _, r := range w.readers {
		rs := ReaderStats{PID: r.pid, Mode: r.mode.String(), Received: r.received.Load(), Missed: r.missed.Load(), Evicted: r.evicted}
		for _, h := range r.holds {
			if i := h.Load(); i > 0 && i <= uint32(w.pool.slots) {
				rs.Held++
			}
		}
		if next := r.needs(); next <= w.sequence {
			rs.Behind = w.sequence - next + 1
		}
		rs.P50, rs.P99 = r.ages()
		s.Readers = append(s.Readers, rs)
	}
	return s
}

// Readers returns how many readers there are now.
func (w *Writer) Readers() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.readers)
}

// ages returns upper bounds of the median and the 99th percentile of the ages that the reader counted.
func (w *words) ages() (p50, p99 int64) {
	var counts [ageBuckets]uint64
	total := uint64(0)
	for i := range counts {
		counts[i] = uint64(w.memory.Word32(atAges + 4*i).Load())
		total += counts[i]
	}
	return percentile(counts[:], total, 50), percentile(counts[:], total, 99)
}

func percentile(counts []uint64, total uint64, p uint64) int64 {
	seen := uint64(0)
	for i, n := range counts {
		if seen += n; n > 0 && seen*100 >= total*p {
			return 1 << i
		}
	}
	return 0
}

// sendStatistics answers one who only asks.
func (w *Writer) sendStatistics(k *conn) {
	b, err := json.Marshal(w.Stats())
	if err != nil || k.send(statisticsKind, func(m []byte) []byte { return order.AppendUint32(m, uint32(len(b))) }) != nil {
		return
	}
	_, _ = k.c.Write(b)
}

// maxStatistics bounds the text of a STATISTICS message.
const maxStatistics = 1 << 20

// ReadStats asks the writer at the other end of a connection for its statistics, and closes the connection. ErrWriterGone: there is none, or
// no longer.
func ReadStats(ctx context.Context, c net.Conn) (Stats, error) {
	var s Stats
	k, err := newConn(c)
	if err != nil {
		return s, err
	}
	defer k.close()
	defer context.AfterFunc(ctx, k.close)()
	defer k.closeReceived()
	if err := k.send(helloKind, hello{mode: statistics}.append); err != nil {
		return s, fmt.Errorf("cannot ask for statistics: %w", whyNot(ctx, err))
	}
	m, err := k.receive()
	if err == nil && (m.kind != statisticsKind || len(m.payload) != 4 || order.Uint32(m.payload) > maxStatistics) {
		err = refusalOf(m)
	}
	if err == nil {
		b := make([]byte, order.Uint32(m.payload))
		if _, err = io.ReadFull(k.c, b); err == io.ErrUnexpectedEOF {
			err = io.EOF
		}
		if err == nil {
			err = json.Unmarshal(b, &s)
		}
	}
	if err != nil {
		return s, fmt.Errorf("cannot read statistics: %w", whyNot(ctx, err))
	}
	return s, nil
}
