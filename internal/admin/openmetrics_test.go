// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/switchboard-ipc/switchboard/internal/admin"
)

const prefix = "running_process_broker_v1_"

// reference makes the metrics of busy with client_golang, from the same happenings.
func reference(t *testing.T) string {
	t.Helper()
	bounds := make([]float64, len(admin.Bounds))
	for i, b := range admin.Bounds {
		bounds[i] = b.Seconds()
	}
	three := []string{"service", "version", "outcome"}
	hellos := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "hello_total"}, three)
	lengths := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + "hello_duration_seconds", Buckets: bounds}, []string{"service"})
	active := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + "active_backends"}, []string{"service"})
	spawns := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "spawn_attempts_total"}, three)
	budget := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + "spawn_budget_remaining"}, []string{"service", "version"})
	open := prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "connections_open"})
	fds := prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "fd_usage_ratio"})
	uptime := prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "uptime_seconds"})

	for _, d := range durations {
		hellos.WithLabelValues("zccache", "1.11.20", "accepted").Inc()
		lengths.WithLabelValues("zccache").Observe(d.Seconds())
	}
	hellos.WithLabelValues("clud", "0.1.0", "rate_limited").Inc()
	lengths.WithLabelValues("clud").Observe(20e-6)
	hellos.WithLabelValues("unknown", "unknown", "peer_rejected").Inc()
	lengths.WithLabelValues("unknown").Observe(5e-6)
	spawns.WithLabelValues("zccache", "1.11.20", "ready").Inc()
	spawns.WithLabelValues("clud", "0.1.0", "failed").Add(2)
	spawns.WithLabelValues("clud", "0.1.0", "timed_out").Inc()
	active.WithLabelValues("zccache").Set(1)
	active.WithLabelValues("clud").Set(0)
	budget.WithLabelValues("zccache", "1.11.20").Set(2)
	budget.WithLabelValues("clud", "0.1.0").Set(0)
	budget.WithLabelValues("fbuild", "2.0.0").Set(3)
	open.Set(3)
	fds.Set(0.25)
	uptime.Set(90.25)

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(hellos, lengths, active, spawns, budget, open, fds, uptime)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	encoder := expfmt.NewEncoder(&out, expfmt.NewFormat(expfmt.TypeOpenMetrics))
	for _, f := range families {
		if err := encoder.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := encoder.(expfmt.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// parse reads a text with the library's parser, and sorts what it has read.
func parse(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, f := range families {
		f.Help = nil
		for _, m := range f.Metric {
			slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
		}
		slices.SortFunc(f.Metric, func(a, b *dto.Metric) int {
			return strings.Compare(labels(a), labels(b))
		})
	}
	return families
}

func labels(m *dto.Metric) string {
	var b strings.Builder
	for _, l := range m.Label {
		b.WriteString(l.GetName() + "\x00" + l.GetValue() + "\x00")
	}
	return b.String()
}

// TestOpenMetricsIsTheLibrarys: the text says what client_golang says of the same happenings.
func TestOpenMetricsIsTheLibrarys(t *testing.T) {
	t.Parallel()
	want, got := reference(t), admin.OpenMetrics(busy())
	if d := cmp.Diff(parse(t, want), parse(t, got), protocmp.Transform()); d != "" {
		t.Errorf("-library +ours\n%s", d)
	}
	if d := cmp.Diff(typeLines(want), typeLines(got)); d != "" {
		t.Errorf("types: -library +ours\n%s", d)
	}
}

func typeLines(text string) []string {
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return !strings.HasPrefix(l, "# TYPE ") })
	slices.Sort(lines)
	return lines
}

var sample = regexp.MustCompile(`^([a-z_0-9]+)(?:\{([a-z]+="(?:[^"\\\n]|\\[\\"n])*"(?:,[a-z]+="(?:[^"\\\n]|\\[\\"n])*")*)\})? ([0-9.e+-]+)$`)

// suffixes of the samples of a family.
var suffixes = map[string][]string{"counter": {"_total"}, "gauge": {""}, "histogram": {"_bucket", "_sum", "_count"}}

// checkOpenMetrics holds a text against the grammar of OpenMetrics 1.0, as far as it is used: what the parser of the
// older format above does not see.
func checkOpenMetrics(t *testing.T, text string) {
	t.Helper()
	body, ok := strings.CutSuffix(text, "# EOF\n")
	if !ok || strings.Contains(body, "# EOF") {
		t.Fatal("# EOF is not, or not only, at the end")
	}
	families, samples := map[string]bool{}, map[string]bool{}
	var family, kind string
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			family, kind, _ = strings.Cut(rest, " ")
			if families[family] {
				t.Errorf("family %s is there twice", family)
			}
			if strings.HasSuffix(family, "_total") {
				t.Errorf("family %s has a sample's name", family)
			}
			families[family] = true
			continue
		}
		if strings.HasPrefix(line, "# HELP ") {
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("no sample: %q", line)
			continue
		}
		suffix, ok := strings.CutPrefix(m[1], family)
		if !ok || !slices.Contains(suffixes[kind], suffix) {
			t.Errorf("%q is in family %s, a %s", m[1], family, kind)
		}
		if at := m[1] + "{" + m[2]; samples[at] {
			t.Errorf("%s is there twice", at)
		} else {
			samples[at] = true
		}
	}
	if len(families) != 8 {
		t.Errorf("%d families", len(families))
	}
}

func TestOpenMetricsIsValid(t *testing.T) {
	t.Parallel()
	checkOpenMetrics(t, reference(t)) // the check itself is right
	checkOpenMetrics(t, admin.OpenMetrics(admin.Snapshot{}))
	checkOpenMetrics(t, admin.OpenMetrics(busy()))

	hostile := "a\"b\\c\nd{}#"
	s := admin.NewStore()
	s.HelloDone(hostile, hostile, hostile, time.Second)
	text := admin.OpenMetrics(admin.Snapshot{Counters: s.Read()})
	checkOpenMetrics(t, text)
	for _, m := range parse(t, text)[prefix+"hello_duration_seconds"].Metric {
		if got := m.Label[0].GetValue(); got != hostile {
			t.Errorf("label %q is read as %q", hostile, got)
		}
	}
}
