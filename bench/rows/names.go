package rows

import "context"

// names compares what a look-up costs among 100,000 names, of 100 sessions
// with 1,000 each, and among 100, of as many sessions. Random names are looked
// up, so that the cost of a large map's cache misses is in it.
func names(ctx context.Context, e *Env) ([]Row, error) {
	const sessions, clients = 100, 8
	each := 1000
	var loops [2]*LookUpLoop
	for i, n := range []int{each, 1} {
		b, err := e.StartBroker(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := e.StartNames(ctx, b.Folder, "bench", sessions, n); err != nil {
			return nil, err
		}
		if loops[i], err = e.StartLookUps(ctx, b.Folder, "bench", sessions, n, clients); err != nil {
			return nil, err
		}
	}
	var many, few []float64
	for range e.Rounds() {
		for i, to := range []*[]float64{&many, &few} {
			r, err := loops[i].Run(ctx, clients, e.Slice())
			if err != nil {
				return nil, err
			}
			*to = append(*to, 1e6/r)
		}
	}
	return []Row{Compare("a look-up among 100,000 names", "µs", many, "among 100", few, Limit{AtMost: 1.1})}, nil
}
