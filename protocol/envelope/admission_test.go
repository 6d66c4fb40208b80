// SPDX-License-Identifier: Apache-2.0

package envelope_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/admission"
	"github.com/switchboard-ipc/switchboard/internal/vectortest"
	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

// verdicts checks what a vector says about an event: "pass", "launch",
// "refused", perhaps with "retry N".
func verdict(t *testing.T, what, want string, retry uint64) {
	t.Helper()
	refused := strings.HasPrefix(want, "refused")
	if !refused && !strings.HasPrefix(want, "pass") && !strings.HasPrefix(want, "launch") {
		t.Fatalf("%s: unknown verdict %q", what, want)
	}
	if refused != (retry > 0) {
		t.Errorf("%s: retry %d, not %s", what, retry, want)
	}
	if _, after, ok := strings.Cut(want, "retry "); ok && after != strconv.FormatUint(retry, 10) {
		t.Errorf("%s: retry %d, not %s", what, retry, want)
	}
}

var helloTimes = regexp.MustCompile(`(\d+) at (\d+)`)

func vectorRateLimit(t *testing.T, v *vector) {
	rate := admission.HelloRate{Limit: int(v.Input.Uint(t, "limit")), Window: v.Input.Uint(t, "window_ms")}
	pid := uint32(v.Input.Uint(t, "pid"))
	if pid == 0 {
		pid = 4242
	}
	var at []uint64
	for _, m := range helloTimes.FindAllStringSubmatch(v.Input.Text(t, "hellos_at_ms"), -1) {
		n, _ := strconv.Atoi(m[1])
		ms, _ := strconv.ParseUint(m[2], 10, 64)
		at = append(at, slices.Repeat([]uint64{ms}, n)...)
	}
	if at == nil { // one for every key, at once
		at = make([]uint64, len(v.Expect))
	}
	retries := make([]uint64, len(at))
	for i, ms := range at {
		retries[i] = rate.Take(pid, ms)
		if rate.Take(0, ms) != 0 {
			t.Error("process 0 is limited")
		}
	}
	if rate.Take(pid+1, at[len(at)-1]) != 0 {
		t.Error("another process is limited")
	}
	for key := range v.Expect {
		first, last := 0, 0
		if _, err := fmt.Sscanf(key, "at_%d", &first); err == nil {
			first = slices.Index(at, uint64(first)) + 1
			last = first
		} else if n, _ := fmt.Sscanf(key, "%d..%d", &first, &last); n == 1 {
			last = first
		}
		if first < 1 || last > len(at) {
			t.Fatalf("unknown Hello %q", key)
		}
		want := v.Expect.Text(t, key)
		for i := first; i <= last; i++ {
			verdict(t, fmt.Sprintf("Hello %d", i), want, retries[i-1])
		}
	}
}

func vectorBudget(t *testing.T, v *vector) {
	var b admission.Budget
	if outcomes := v.Input.List(t, "outcomes"); outcomes != nil {
		if all := v.Expect.Text(t, "all"); all != "launched" {
			t.Fatalf("unknown outcome %q", all)
		}
		for i, outcome := range texts(outcomes) {
			verdict(t, fmt.Sprint("attempt ", i), "launch", b.Take(uint64(i)))
			if outcome == "success" {
				b.Reset()
			}
		}
		return
	}
	if v.Input.Take("all_fail") != true {
		t.Fatal("unknown outcomes")
	}
	for _, x := range v.Input.List(t, "attempts_at_ms") {
		ms := vectortest.Uint(t, x)
		key := strconv.FormatUint(ms, 10)
		verdict(t, key, v.Expect.Text(t, key), b.Take(ms))
	}
}

func vectorPressure(t *testing.T, v *vector) {
	var p admission.Pressure
	var got []any
	for _, event := range texts(v.Input.List(t, "events")) {
		switch event {
		case "EMFILE", "ENFILE":
			p.Exhausted()
		case "ok":
			p.Accepted()
		default:
			t.Fatalf("unknown event %q", event)
		}
		got = append(got, p.Demoted())
	}
	if want := v.Expect.List(t, "demoted_after_each"); !slices.Equal(got, want) {
		t.Errorf("demoted: %v, not %v", got, want)
	}
}

func vectorBackoff(t *testing.T, v *vector) {
	sleeps := v.Expect.List(t, "sleep_ms")
	for i, x := range v.Input.List(t, "attempts") {
		if got := admission.ReadyBackoff(int(vectortest.Uint(t, x))); got != vectortest.Uint(t, sleeps[i]) {
			t.Errorf("after attempt %v: %d ms, not %v", x, got, sleeps[i])
		}
	}
	if v.Expect.Uint(t, "ceiling_ms") != admission.ReadyCeiling {
		t.Error("another ceiling")
	}
}

func vectorPercentiles(t *testing.T, v *vector) {
	var samples []uint64
	for _, x := range v.Input.List(t, "samples_us") {
		samples = append(samples, vectortest.Uint(t, x))
	}
	slices.Sort(samples)
	for key := range v.Expect {
		p, err := strconv.ParseFloat(strings.TrimPrefix(key, "p"), 64)
		if err != nil {
			t.Fatalf("unknown percentile %q", key)
		}
		if got, want := admission.NearestRank(samples, p), v.Expect.Uint(t, key); got != want {
			t.Errorf("%s is %d, not %d", key, got, want)
		}
	}
}

func vectorGate(t *testing.T, v *vector) {
	budget := v.Input.Object(t, "budget")
	budget.Take("warmup") // is the measurement's
	gate := admission.Gate{P50: budget.Uint(t, "p50_us"), P99: budget.Uint(t, "p99_us"), Samples: int(budget.Uint(t, "samples"))}
	if gate != admission.DefaultGate || len(budget) > 0 {
		t.Errorf("the gate is %v; %v", gate, budget)
	}
	if !gate.Met(slices.Repeat([]uint64{gate.P50}, gate.Samples)) {
		t.Error("it is not met by what is just enough")
	}
	for key := range v.Expect {
		samples := slices.Repeat([]uint64{100}, gate.Samples)
		var n, of, ms int
		if c, _ := fmt.Sscanf(key, "p50=%d", &n); c == 1 {
			samples = slices.Repeat([]uint64{uint64(n)}, gate.Samples)
		} else if c, _ := fmt.Sscanf(key, "%d of %d slow at %d ms", &n, &of, &ms); c == 3 {
			samples = append(slices.Repeat([]uint64{100}, of-n), slices.Repeat([]uint64{uint64(ms) * 1000}, n)...)
		} else if c == 1 && strings.HasSuffix(key, " samples") {
			samples = samples[:n]
		} else {
			t.Fatalf("unknown run %q", key)
		}
		if got, want := gate.Met(samples), v.Expect.Text(t, key); got != strings.HasPrefix(want, "pass") {
			t.Errorf("%s: met %t, not %s", key, got, want)
		}
	}
}

func vectorTokenStore(t *testing.T, v *vector) {
	var tokens envelope.Tokens
	token := issue(t, &tokens, v.Input.Uint(t, "issue_at_ms"))
	names := map[error]string{
		nil: "consumed", envelope.ErrTokenMismatch: "TokenMismatch", envelope.ErrTokenNotPending: "TokenNotPending",
		envelope.ErrTokenExpired: "TokenExpired",
	}
	for i, x := range v.Input.List(t, "present") {
		present := x.([]any)
		got := token
		switch present[0] {
		case "wrong":
			got[0]++
		case "right":
		default:
			t.Fatalf("unknown token %v", present[0])
		}
		err := tokens.Consume(token, got[:], vectortest.Uint(t, present[1]))
		want := v.Expect.Text(t, strconv.Itoa(i+1))
		if name := names[err]; name == "" || !strings.HasPrefix(want, name) {
			t.Errorf("%v: %v, not %s", present, err, want)
		}
	}
}

func issue(t *testing.T, tokens *envelope.Tokens, now uint64) [16]byte {
	t.Helper()
	token, err := tokens.Issue(func() (token [16]byte, err error) {
		for i := range token {
			token[i] = byte(rand.Uint32())
		}
		return token, nil
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func vectorAckDeadline(t *testing.T, v *vector) {
	registered := v.Input.Uint(t, "registered_at_ms")
	for key := range v.Expect {
		if key == "second_ack" {
			continue
		}
		after, err := strconv.ParseUint(strings.TrimPrefix(key, "ack_at_"), 10, 64)
		if err != nil {
			t.Fatalf("unknown moment %q", key)
		}
		var tokens envelope.Tokens
		token := issue(t, &tokens, registered)
		if err := tokens.Register(token, registered); err != nil {
			t.Fatal(err)
		}
		err = tokens.Acknowledge(token, token[:], after)
		switch want := v.Expect.Text(t, key); {
		case want == "ok" && err == nil:
		case strings.HasPrefix(want, "AckDeadlineExceeded") && err == envelope.ErrAckDeadline:
		default:
			t.Errorf("%s: %v, not %s", key, err, want)
		}
		if err := tokens.Acknowledge(token, token[:], after); err != envelope.ErrAckNotPending || tokens.Len() != 0 {
			t.Errorf("%s, again: %v", key, err)
		}
		if v.Expect["second_ack"] != "TokenNotPending" {
			t.Fatalf("unknown outcome %v", v.Expect["second_ack"])
		}
	}
	v.Expect.Take("second_ack")
}

func vectorDisable(t *testing.T, v *vector) {
	for _, x := range v.Input.List(t, "values") {
		value, set := x.(string)
		key := value
		if !set {
			key = "unset"
		}
		disabled, err := envelope.Disabled(value, set)
		got := map[bool]string{true: "disabled", false: "enabled"}[disabled]
		if err != nil {
			got = "error"
		}
		if want := v.Expect.Text(t, key); got != want {
			t.Errorf("%s: %s, not %s", key, got, want)
		}
	}
}

func vectorRanges(t *testing.T, v *vector) {
	lanes := map[string]envelope.Lane{
		"first_party": envelope.FirstParty, "registered_consumer": envelope.RegisteredConsumer,
		"private_use": envelope.PrivateUse, "neither": envelope.Reserved,
	}
	var seen int
	for name, lane := range lanes {
		for _, id := range v.Expect.List(t, name) {
			seen++
			if got := envelope.Classify(uint32(vectortest.Uint(t, id))); got != lane {
				t.Errorf("%v is in lane %d, not %s", id, got, name)
			}
		}
	}
	if ids := v.Input.List(t, "ids"); len(ids) != seen {
		t.Errorf("%d ids, and %d are classified", len(ids), seen)
	}
}
