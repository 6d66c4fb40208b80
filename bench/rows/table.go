// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// table prints the rows for people: what falls short or is missing says so at
// its end, where it is looked for.
func (r Report) table(out io.Writer) error {
	how := ""
	if r.Quick {
		how = ", quick: roughly right only"
	}
	fmt.Fprintf(out, "%d CPUs, %s, %.0f s%s\n\n", r.CPUs, r.Platform, r.Seconds, how)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tOURS\tPEER\t\tRATIO\t(ROUNDS)\tWANTED\t")
	for _, row := range r.Rows {
		if row.Skipped != "" {
			continue
		}
		peer, ratio, spread := "", "", ""
		if row.Peer > 0 {
			peer = figure(row.Peer, row.Unit)
			ratio = fmt.Sprintf("%.2f", row.Ratio)
			spread = fmt.Sprintf("%.2f–%.2f", row.Low, row.High)
		}
		verdict := row.Wanted
		if row.Met != nil {
			verdict += map[bool]string{true: ": yes", false: ": NO"}[*row.Met]
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n",
			row.Name, figure(row.Ours, row.Unit), peer, row.PeerName, ratio, spread, verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, row := range r.Rows {
		if row.Skipped != "" {
			fmt.Fprintf(out, "\nSKIPPED  %s: %s\n", row.Name, row.Skipped)
		}
	}
	for _, row := range r.Rows {
		if row.Note != "" {
			fmt.Fprintf(out, "\n%s: %s\n", row.Name, row.Note)
		}
	}
	return nil
}

// figure is a value with three digits that mean something, and its unit.
func figure(v float64, unit string) string {
	switch a := math.Abs(v); {
	case a >= 10000:
		return fmt.Sprintf("%.0f k%s", v/1000, unit)
	case a >= 100:
		return fmt.Sprintf("%.0f %s", v, unit)
	case a >= 10:
		return fmt.Sprintf("%.1f %s", v, unit)
	default:
		return fmt.Sprintf("%.2f %s", v, unit)
	}
}
