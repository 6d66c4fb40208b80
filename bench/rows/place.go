// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Place decides on which processors a group's processes run.
//
// A connect is mostly waking the other side, and waking somebody costs up to
// four times as much on another processor as on one's own. Schedulers move
// processes together and apart as they see fit, so where nothing is said the
// time of a connect has two values, by chance, and so has its ratio to
// anything. Where times to a first byte are compared, the caller is therefore
// on one processor, and all that it calls on another.
type Place struct {
	Caller   []string // begins the command of a caller; empty: anywhere
	Services []string // begins the command of broker and services
}

// Places finds two processors, and the program that puts processes on them
// (util-linux's taskset). Where there are none the place is anywhere, and the
// note says so.
func Places() (p Place, note string) {
	taskset, err := exec.LookPath("taskset")
	if err != nil {
		return p, "measured wherever the scheduler put caller and services: there is no taskset"
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return p, "measured wherever the scheduler put caller and services: " + err.Error()
	}
	cpus := allowed(string(status))
	if len(cpus) < 2 {
		return p, "measured on one processor: there is no other"
	}
	on := func(cpu int) []string { return []string{taskset, "-c", strconv.Itoa(cpu)} }
	return Place{Services: on(cpus[0]), Caller: on(cpus[1])}, "caller on one processor, broker and services on another"
}

// Together is the place where everybody is on the services' processor.
func (p Place) Together() Place { return Place{Caller: p.Services, Services: p.Services} }

// allowed reads the first processors that this process may use from its status, at most two.
func allowed(status string) (cpus []int) {
	_, rest, found := strings.Cut(status, "Cpus_allowed_list:")
	if !found {
		return nil
	}
	list, _, _ := strings.Cut(rest, "\n")
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, err := strconv.Atoi(first)
		if err != nil {
			return nil
		}
		to := from
		if isRange {
			if to, err = strconv.Atoi(last); err != nil {
				return nil
			}
		}
		for cpu := from; cpu <= to && len(cpus) < 2; cpu++ {
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}
