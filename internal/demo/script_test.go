package demo

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func get(t *testing.T, s *Shop, path string) string {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// submit sends the page's form, its fields as name=value.
func submit(t *testing.T, s *Shop, header http.Header, fields ...string) *httptest.ResponseRecorder {
	t.Helper()
	form := url.Values{}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		form.Set(name, value)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/turn", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestTheScriptTurnsTheKnobsAtItsTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Default(), 1)
		script := Script()
		var said []time.Duration
		began := time.Now()
		s.Play(t.Context(), script, func(Scene) { said = append(said, time.Since(began)) })
		for i, scene := range script {
			if said[i] != scene.At {
				t.Errorf("scene %d at %v, want %v", i, said[i], scene.At)
			}
			if err := func() error { k := Default(); scene.Turn(&k); return k.Validate() }(); err != nil {
				t.Errorf("scene %d: %v", i, err)
			}
		}
		if k := s.Knobs(); k.Release != "v1.2.0" || k.LeakPerRequest != 0 || k.StallFor != 0 || k.Slowdown > 1 {
			t.Errorf("in the end the shop is %+v, want a healthy one", k)
		}
	})
}

func TestWhoTurnsAKnobEndsTheScript(t *testing.T) {
	for how, turn := range map[string]func(t *testing.T, s *Shop){
		"by the page": func(t *testing.T, s *Shop) {
			if w := submit(t, s, nil, "release=mine", "slowdown=2", "errors=5", "leak=1.5", "hang=1"); w.Code != http.StatusSeeOther {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		},
		"by JSON": func(t *testing.T, s *Shop) {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/knobs",
				strings.NewReader(`{"release": "mine", "slowdown": 2, "error_ratio": {"": 0.05}, "leak_bytes_per_request": 1536, "hang": true}`)))
			if w.Code != http.StatusOK {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		},
	} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(Default(), 1)
				done := make(chan struct{})
				go func() {
					defer close(done)
					s.Play(t.Context(), Script(), func(Scene) {})
				}()
				time.Sleep(4 * time.Minute)
				if page := get(t, s, "/"); !strings.Contains(page, "v1.1.0 is rolled out") || !strings.Contains(page, `value="1.5"`) {
					t.Errorf("the page does not show script and knobs:\n%s", page)
				}
				turn(t, s)
				<-done
				time.Sleep(time.Hour)
				k := s.Knobs()
				if k.Release != "mine" || k.Slowdown != 2 || k.LeakPerRequest != 1536 || !k.Hang || of(k.ErrorRatio, "GET /products") != 0.05 {
					t.Errorf("the knobs are %+v, want those that were turned", k)
				}
				if page := get(t, s, "/"); strings.Contains(page, "The script") || !strings.Contains(page, `value="mine"`) || !strings.Contains(page, " checked>") {
					t.Errorf("the page does not show the knobs alone:\n%s", page)
				}
			})
		})
	}
}

func TestWhatThePageRefuses(t *testing.T) {
	s := New(Default(), 1)
	for _, c := range []struct {
		fields []string
		header http.Header
		code   int
		says   string
	}{
		{[]string{"slowdown=fast"}, nil, http.StatusBadRequest, "invalid syntax"},
		{[]string{"slowdown=-1"}, nil, http.StatusBadRequest, "slowdown: must be from 0 to"},
		{[]string{"errors=101"}, nil, http.StatusBadRequest, "must be from 0 to 1"},
		{[]string{"leak=1e9"}, nil, http.StatusBadRequest, "leak_bytes_per_request: must be"},
		{[]string{"slowdown=2"}, http.Header{"Sec-Fetch-Site": {"cross-site"}}, http.StatusForbidden, "cross-origin"},
	} {
		w := submit(t, s, c.header, c.fields...)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%v: %d %s; want %d and %q", c.fields, w.Code, w.Body, c.code, c.says)
		}
	}
	if k := s.Knobs(); k.Slowdown > 1 || k.LeakPerRequest != 0 {
		t.Errorf("what was refused was turned: %+v", k)
	}
}

// A release is a process of its own: what the one before leaked is gone.
func TestAReleaseFreesWhatTheOneBeforeLeaked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := Knobs{Release: "a", LeakPerRequest: 1000, Rollouts: []Rollout{{After: Duration(time.Hour), Release: "b"}}}
		s := New(k, 1)
		for range 50 {
			get(t, s, "/products")
		}
		if got := s.Leaked(); got != 50_000 {
			t.Errorf("%d bytes are leaked, want 50000", got)
		}
		time.Sleep(time.Hour)
		get(t, s, "/products")
		if got := s.Leaked(); got != 1000 {
			t.Errorf("after a rollout %d bytes are leaked, want those of one request", got)
		}
		k.Release, k.LeakPerRequest = "c", 0
		if err := s.Set(k); err != nil {
			t.Fatal(err)
		}
		if got := s.Leaked(); got != 0 {
			t.Errorf("after another release %d bytes are leaked", got)
		}
	})
}
