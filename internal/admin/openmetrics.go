// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// prefix is that of all metric names.
const prefix = "running_process_broker_v1_"

// OpenMetrics is the body of METRICS: the eight families of section 7, in its order, with their samples.
//
// A writer of our own: linking prometheus/client_golang makes every start of the command a millisecond longer, and
// each launched service starts it once. The tests hold the text against that library's.
func OpenMetrics(s Snapshot) string {
	var w writer
	w.counters("hello", s.Counters.Hellos)
	w.family("hello_duration_seconds", "histogram")
	for _, d := range s.Counters.Durations {
		w.histogram("hello_duration_seconds", d)
	}
	w.family("active_backends", "gauge")
	active := activeBackends(s.Backends)
	for _, service := range slices.Sorted(maps.Keys(active)) {
		w.sample("active_backends", float64(active[service]), "service", service)
	}
	w.counters("spawn_attempts", s.Counters.Spawns)
	w.family("spawn_budget_remaining", "gauge")
	for _, b := range budgetsLeft(s) {
		w.sample("spawn_budget_remaining", float64(b.Remaining), "service", b.Service, "version", b.Version)
	}
	w.gauge("connections_open", float64(s.ConnectionsOpen))
	w.gauge("fd_usage_ratio", share(s.FDs.Open, s.FDs.Limit))
	w.gauge("uptime_seconds", s.Uptime.Round(time.Millisecond).Seconds())
	w.WriteString("# EOF\n")
	return w.String()
}

// activeBackends counts what runs of each service that has backends.
func activeBackends(all []Backend) map[string]int {
	count := map[string]int{}
	for _, b := range all {
		n := count[b.Service]
		if b.State == Running {
			n++
		}
		count[b.Service] = n
	}
	return count
}

// budgetsLeft is one budget for each service and version: of several instances, the one that is used up most.
func budgetsLeft(s Snapshot) []Budget {
	all := make([]Budget, len(s.Budgets))
	for i, b := range s.Budgets {
		all[i] = b.at(s.GeneratedUnixMS)
	}
	slices.SortFunc(all, func(a, b Budget) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Remaining, b.Remaining))
	})
	return slices.CompactFunc(all, func(a, b Budget) bool { return a.Service == b.Service && a.Version == b.Version })
}

// writer writes OpenMetrics 1.0.
type writer struct{ strings.Builder }

func (w *writer) family(name, kind string) {
	w.WriteString("# TYPE " + prefix + name + " " + kind + "\n")
}

// gauge writes a family of one sample without labels.
func (w *writer) gauge(name string, value float64) {
	w.family(name, "gauge")
	w.sample(name, value)
}

// counters writes a family of counters. Its samples have _total in their name, and the family must not.
func (w *writer) counters(name string, all []Count) {
	w.family(name, "counter")
	for _, c := range all {
		w.sample(name+"_total", float64(c.N), "service", c.Service, "version", c.Version, "outcome", c.Outcome)
	}
}

func (w *writer) histogram(name string, d Durations) {
	var sum uint64
	for i, n := range d.Buckets {
		sum += n
		le := "+Inf"
		if i < len(Bounds) {
			le = canonical(Bounds[i].Seconds())
		}
		w.sample(name+"_bucket", float64(sum), "service", d.Service, "le", le)
	}
	w.sample(name+"_sum", d.Sum.Seconds(), "service", d.Service)
	w.sample(name+"_count", float64(sum), "service", d.Service)
}

// canonical writes a bound as OpenMetrics wants it: 1.0, not 1.
func canonical(f float64) string {
	text := strconv.FormatFloat(f, 'g', -1, 64)
	if strings.ContainsAny(text, ".e") {
		return text
	}
	return text + ".0"
}

var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// sample writes one line; labels are names and values in turn.
func (w *writer) sample(name string, value float64, labels ...string) {
	w.WriteString(prefix + name)
	for i := 0; i < len(labels); i += 2 {
		w.WriteByte("{,"[min(i, 1)])
		w.WriteString(labels[i] + `="`)
		escaper.WriteString(w, strings.ToValidUTF8(labels[i+1], "\uFFFD"))
		w.WriteByte('"')
	}
	if len(labels) > 0 {
		w.WriteByte('}')
	}
	w.WriteString(" " + strconv.FormatFloat(value, 'f', -1, 64) + "\n")
}
