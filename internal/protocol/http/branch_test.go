package http

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/protocol"
)

// Branches of one virtual user share its cookies, and only that user's iteration forgets them.
func TestBranchesShareCookies(t *testing.T) { overEach(t, testBranchesShareCookies) }

func testBranchesShareCookies(t *testing.T) {
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

// With cookies_reset: never a virtual user has its cookies in all its iterations, in branches too, until one expires.
func TestCookiesStayOverIterations(t *testing.T) { overEach(t, testCookiesStayOverIterations) }

func testCookiesStayOverIterations(t *testing.T) {
	var got []string
	r := newRig(t, serve(t, func(w http.ResponseWriter, req *http.Request) {
		got = append(got, req.Header.Get("Cookie"))
		if req.URL.Path == "/in" {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "7"})
		}
		if req.URL.Path == "/bye" {
			http.SetCookie(w, &http.Cookie{Name: "session", MaxAge: -1})
		}
	}))
	r.target = "{cookies_reset: never}"
	var branch protocol.VU
	r.vu.Branch(&branch)
	t.Cleanup(branch.Close)
	for _, at := range []string{"/in", "/", "/bye", "/"} {
		r.get("{url: " + at + "}")
		r.vu.Begin()
		branch.Begin()
	}
	if want := []string{"", "session=7", "session=7", ""}; !slices.Equal(got, want) {
		t.Errorf("the requests had the cookies %q, want %q", got, want)
	}
	r.get("{url: /in}")
	r.vu.Begin()
	call := protocol.Call{VU: &branch, Scope: r.scope, Keep: &r.keep, Deadline: r.env.Now() + 45*time.Second}
	if r.step("{url: /}").Do(&call); call.Err != nil || got[len(got)-1] != "session=7" {
		t.Errorf("a branch of the next iteration had the cookies %q (%v), want session=7", got[len(got)-1], call.Err)
	}
}

// A cookie of the configuration is sent where those of answers are not.
func TestAnOwnCookie(t *testing.T) {
	var got []string
	r := newRig(t, serve(t, func(w http.ResponseWriter, req *http.Request) {
		got = append(got, req.Header.Get("Cookie"))
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "7"})
	}))
	r.get("{url: /}")
	r.get(`{url: /, cookies: false, headers: {Cookie: "mine=1"}}`)
	r.get("{url: /}")
	if want := []string{"", "mine=1", "session=7"}; !slices.Equal(got, want) {
		t.Errorf("the requests had the cookies %q, want %q", got, want)
	}
}

// A scenario may forget or keep cookies whatever its target does.
func TestAScenarioSaysHowLongCookiesStay(t *testing.T) {
	target := DefaultTarget()
	target.CookiesReset = protocol.ResetNever
	scenario := newScenario(target)
	if got := scenario.Target().(*TargetConfig).CookiesReset; got != protocol.ResetNever {
		t.Errorf("a scenario that says nothing has %q, want never", got)
	}
	var errs block.Errors
	block.Decode(block.Parse("scenario.yaml", []byte("{cookies_reset: iteration}"), &errs), scenario, &errs)
	if got := scenario.Target().(*TargetConfig).CookiesReset; got != protocol.ResetIteration || errs.Err() != nil {
		t.Errorf("a scenario that says iteration has %q (%v)", got, errs.Err())
	}
}
