package http

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/protocol"
)

// Branches of one virtual user share its cookies, and only that user's iteration forgets them.
func TestBranchesShareCookies(t *testing.T) {
	var mu sync.Mutex
	var got []string
	r := newRig(t, serve(t, func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		got = append(got, req.URL.Path+" "+req.Header.Get("Cookie"))
		mu.Unlock()
		if req.URL.Path == "/in" {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "7"})
		}
	}))
	in, out := r.step("{url: /in}"), r.step("{url: /out}")
	var a, b protocol.VU
	r.vu.Branch(&a)
	r.vu.Branch(&b)
	t.Cleanup(func() { a.Close(); b.Close() })
	get := func(v *protocol.VU, s protocol.Step) {
		t.Helper()
		call := protocol.Call{VU: v, Scope: r.scope, Keep: &r.keep, Deadline: r.env.Now() + 5*time.Second}
		if s.Do(&call); call.Err != nil {
			t.Error(call.Err)
		}
	}
	get(&a, in)
	a.Begin()
	get(&b, out)
	get(r.vu, out)
	r.vu.Begin()
	get(&b, out)
	for i, want := range []string{"/in ", "/out session=7", "/out session=7", "/out "} {
		if i >= len(got) || got[i] != want {
			t.Fatalf("requests %q, the one at %d should be %q", got, i, want)
		}
	}
	var both sync.WaitGroup
	for _, v := range []*protocol.VU{&a, &b} {
		both.Go(func() {
			for range 50 {
				get(v, in)
				get(v, out)
			}
		})
	}
	both.Wait()
	if last := got[len(got)-1]; last != "/out session=7" {
		t.Errorf("the last request was %q, want /out with its cookie", last)
	}
}
