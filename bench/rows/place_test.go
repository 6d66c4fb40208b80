// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"slices"
	"testing"
)

func TestAllowedProcessors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		list string
		want []int
	}{
		{"0-1", []int{0, 1}},
		{"0-63", []int{0, 1}},
		{"3", []int{3}},
		{"2,5-7", []int{2, 5}},
		{"", nil},
		{"x-y", nil},
	} {
		status := "Name:\tbench\nCpus_allowed:\tff\nCpus_allowed_list:\t" + c.list + "\nMems_allowed:\t1\n"
		if got := allowed(status); !slices.Equal(got, c.want) {
			t.Errorf("allowed(%q) is %v, not %v", c.list, got, c.want)
		}
	}
	if got := allowed("Name:\tbench\n"); got != nil {
		t.Errorf("without a list: %v", got)
	}
}
