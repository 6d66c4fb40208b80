// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"testing"

	"github.com/switchboard-ipc/switchboard/internal/directory"
)

// TestAdopt: what an earlier broker launched is found and used.
func TestAdopt(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{}, 10), definition(directory.Listener)
	native := definition(directory.HandedOver)
	native.Version = "2.0.0"
	each := versioned(definition(directory.Connection), "0.1.0")
	adopt := func(def directory.Definition, path string) directory.Adopt {
		return directory.Adopt{Name: "up", Definition: def, Owner: started, Path: path, Since: 77, Now: 1}
	}
	retired := adopt(def, "/2")
	retired.Retired = true
	s.play(
		on(retired, directory.Adopted{Backend: nth(2), Key: key0(def)}), // in any order
		on(adopt(def, "/1"), directory.Publish{Entry: running(nth(3), def, "/1")}, directory.Adopted{Backend: nth(3), Key: key0(def)}),
		on(adopt(native, ""), directory.Adopted{Backend: nth(5), Key: key0(native)}),
		on(adopt(each, ""), directory.Adopted{Backend: nth(7), Key: key0(each)}),
		on(dial(30, "up", 2))) // for the newest, which will be back
	if e, ok := s.d.Entry(nth(2)); !ok || e.State != directory.Retiring {
		t.Errorf("the retired one is %+v, %t", e, ok)
	}
	open := hello(11, directory.Root)
	open.Backend = nth(5)
	e := entry(20, 11, directory.Root, "up")
	e.Backend, e.Version = nth(5), "2.0.0"
	s.play(
		on(open, directory.Welcome{Session: 11, Request: 1, Namespace: "/"}),
		on(request(11, 1, claim(20, "up")), directory.Publish{Entry: e}, granted(11, 1, directory.Reply{ID: 20}), handOver(30, 11, 20)),
		on(directory.Tick{Now: 1 + 250e6}, directory.Count{Backend: nth(2)}),
		on(directory.Counted{Backend: nth(2), Now: 1 + 250e6},
			directory.EndLease{Lease: nth(2), Reason: "it was retired, and its last caller has gone"}, directory.Stop{Backend: nth(2)}))
}

// TestAdoptStarting: one that does not listen yet is waited for, as by the broker that launched it.
func TestAdoptStarting(t *testing.T) {
	t.Parallel()
	s, def := newScene(t, directory.Limits{}, 10), definition(directory.Path)
	adopt := directory.Adopt{Name: "up", Definition: def, Owner: started, Path: "/1", Since: 77, Starting: true, Now: 1}
	s.play(
		on(adopt, directory.Adopted{Backend: nth(2), Key: key0(def)}), on(dial(30, "up", 2)),
		on(directory.Ready{Backend: nth(2), Now: 3}, directory.Publish{Entry: running(nth(2), def, "/1")}, directory.Redirect{Connection: 30, Path: "/1"}))

	s = newScene(t, directory.Limits{}, 10)
	s.play(
		on(adopt, directory.Adopted{Backend: nth(2), Key: key0(def)}), on(dial(30, "up", 2)),
		on(directory.NotReady{Backend: nth(2), Now: 1 + def.Start},
			refuse(30, directory.NotStarted, `service "up" did not start: it was not ready within 1000 ms; it is tried again after 100 ms`),
			directory.Stop{Backend: nth(2), Kill: true}))
}
