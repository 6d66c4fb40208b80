// SPDX-License-Identifier: Apache-2.0

//go:build linux

package broker_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchboard-ipc/switchboard/protocol/xpc"
)

// TestPipeLists: who is in a namespace, and what has which name.
func TestPipeLists(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.add("svc.toml", s.ports("svc", "", "serve", "p", "q"))
	b := s.broker()
	c := bootstrap(t, b.dir)
	svc := xpc.Job{Label: "svc", Services: []string{"p", "q"}}
	jobs := func(want ...xpc.Job) {
		t.Helper()
		a, _ := c.pipe(xpc.Request{Routine: xpc.GetJobs})
		if diff := cmp.Diff(want, a.Jobs); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
	}
	jobs(svc)
	c.wantList(xpc.Listed{Label: "svc"})
	pid := int64(c.pipeLookUp(xpc.LookUp, "q").question().answered()) // the last one that it checks in
	b.undeclares("created")
	c.createService("created")
	c.checkIn("b")
	c.checkIn("a")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	me := fmt.Sprintf("%s.%d", self[strings.LastIndex(self, "/")+1:], os.Getpid())
	own := xpc.Job{Label: me, Services: []string{"a", "b"}}
	jobs(own, xpc.Job{Label: "created", Services: []string{"created"}}, svc)
	c.wantList(xpc.Listed{Label: me, PID: int64(os.Getpid())}, xpc.Listed{Label: "created"}, xpc.Listed{Label: "svc", PID: pid})
	for _, test := range []struct {
		r    xpc.Request
		want xpc.ServiceInfo
	}{
		{xpc.Request{}, xpc.ServiceInfo{BundleID: me, PID: int64(os.Getpid()), Name: me}},
		{xpc.Request{PID: pid}, xpc.ServiceInfo{BundleID: "svc", PID: pid, Name: "svc"}},
		{xpc.Request{Name: "q"}, xpc.ServiceInfo{BundleID: "svc", PID: pid, Name: "q"}},
		{xpc.Request{Name: "created"}, xpc.ServiceInfo{BundleID: "created", Name: "created"}},
	} {
		test.r.Routine = xpc.Attributes
		if a, _ := c.pipe(test.r); a.Error != xpc.OK || a.Attributes != test.want {
			t.Errorf("attributes of %q and %d: %v %+v, want %+v", test.r.Name, test.r.PID, a.Error, a.Attributes, test.want)
		}
	}
	c.wantPipe(xpc.NotFound, xpc.Request{Routine: xpc.Attributes, Name: "nobody"})
	c.wantPipe(xpc.NotFound, xpc.Request{Routine: xpc.Attributes, PID: 1 << 40})

	in, _ := c.subset()
	in.checkIn("inner")
	if a, _ := in.pipe(xpc.Request{Routine: xpc.GetJobs}); len(a.Jobs) != 1 || !slices.Equal(a.Jobs[0].Services, []string{"inner"}) {
		t.Errorf("the jobs of a subset are %+v", a.Jobs)
	}
}

func (c *machConn) wantList(want ...xpc.Listed) {
	c.t.Helper()
	if a, _ := c.pipe(xpc.Request{Routine: xpc.List}); !slices.Equal(a.Services, want) {
		c.t.Fatalf("the list is %+v, want %+v", a.Services, want)
	}
}

// TestPipeLongLists: a list is whole or refused, and a client that reads none gets no more.
func TestPipeLongLists(t *testing.T) {
	t.Parallel()
	b := startBroker(t, brokerOptions{})
	c := bootstrap(t, b.dir)
	in, requestor := c.subset()
	create := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			in.createService(fmt.Sprintf("com.example.a.long.name.of.a.port.that.is.one.of.many.%04d", i)).close()
		}
	}
	create(0, 200)
	if a, _ := in.pipe(xpc.Request{Routine: xpc.GetJobs}); len(a.Jobs) != 200 {
		t.Errorf("%d jobs, error %v", len(a.Jobs), a.Error)
	}
	if a, _ := in.pipe(xpc.Request{Routine: xpc.List}); len(a.Services) != 200 {
		t.Errorf("%d services, error %v", len(a.Services), a.Error)
	}
	create(200, 300)
	in.wantPipe(xpc.NoMemory, xpc.Request{Routine: xpc.GetJobs})
	tracer := open(t, b.dir)
	all := tracer.trace("")
	r := xpc.Request{Routine: xpc.List, Token: 3}
	in.say(r.Message())
	in.say(r.Message())
	tracer.wantTraced(all, `list (pipe) "" 0 `+xpc.OK.String())
	tracer.wantTraced(all, `list (pipe) "" 12 `+xpc.NoMemory.String())
	if m, _ := in.hear(); !m.Root.Has("services") {
		t.Errorf("the list has %d keys", len(m.Root))
	}
	in.errorIs(xpc.NoMemory, 3)
	requestor.close()
}
