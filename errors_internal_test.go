// SPDX-License-Identifier: Apache-2.0

package switchboard

import "testing"

// TestBreakLines: only the output that a verdict quotes has its line breaks back.
func TestBreakLines(t *testing.T) {
	t.Parallel()
	const why = `service "a" did not start: it exited with status 3`
	tests := []struct{ text, want string }{
		{"", ""},
		{why, why},
		{"one | two", "one | two"},
		{why + "; its last output: | one | two ", why + "; its last output:\none\ntwo "},
		{why + " | ; its last output: | one", why + " | ; its last output:\none"},
		{why + "; its last output:", why + "; its last output:"},
	}
	for _, test := range tests {
		if got := breakLines(test.text); got != test.want {
			t.Errorf("%q becomes %q, want %q", test.text, got, test.want)
		}
	}
}
