package web

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// However many clients hold connections and do nothing, a new client is answered, and no more are open than may be.
func TestIdleClientsKeepNobodyOut(t *testing.T) {
	for _, c := range []struct{ name, says string }{
		{"silent ones", ""},
		{"ones that asked once", "GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"ones that send half a request", "GET /-/healthy HTTP/1.1\r\nHo"},
	} {
		t.Run(c.name, func(t *testing.T) {
			const most = 8
			s, err := Listen([]string{"127.0.0.1:0", "127.0.0.1:0"}, "", handler(&fake{ready: true}, true), Place{}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			s.Limit(most)
			s.Start()
			var clients []net.Conn
			defer func() {
				for _, n := range clients {
					n.Close()
				}
				if err := s.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			}()
			for i := range 10 * most {
				n, err := net.Dial("tcp", s.Addrs()[i%2].String())
				if err != nil {
					t.Fatal(err)
				}
				clients = append(clients, n)
				if c.says != "" {
					_, _ = io.WriteString(n, c.says) // it may be closed already
				}
			}
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
			answered := false
			for end := time.Now().Add(5 * time.Second); !answered && time.Now().Before(end); {
				resp, err := client.Get("http://" + s.Addrs()[0].String() + "/-/ready")
				if err != nil {
					continue // all others were in the middle of their request
				}
				resp.Body.Close()
				answered = resp.StatusCode == http.StatusOK
			}
			if !answered {
				t.Error("a probe is not answered")
			}
			s.open.mu.Lock()
			defer s.open.mu.Unlock()
			if n := len(s.open.open); n > most {
				t.Errorf("%d connections are open, want at most %d", n, most)
			}
		})
	}
}

// Requests under way are not cut off for new connections.
func TestARequestUnderWayIsNotEvicted(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	s, err := Listen([]string{"127.0.0.1:0"}, "", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(inside)
		<-leave
		io.WriteString(w, "done")
	}), Place{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Limit(1)
	s.Start()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answered := make(chan string, 1)
	go func() {
		resp, err := client.Get("http://" + s.Addrs()[0].String())
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		answered <- string(text)
	}()
	<-inside
	for range 5 {
		n, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		_ = n.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := n.Read(make([]byte, 1)); err == nil {
			t.Error("a connection over the limit is served")
		}
		n.Close()
	}
	close(leave)
	if got := <-answered; got != "done" {
		t.Errorf("the request under way got %q", got)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// Equal queries at the same time are worked on once; others by themselves.
func TestEqualQueriesShareTheirAnswer(t *testing.T) {
	for _, c := range []struct {
		name    string
		queries []string
		worked  int32
	}{
		{"equal", []string{"/f?a=1&b=2"}, 1},
		{"in another order", []string{"/f?a=1&b=2", "/f?b=2&a=1"}, 1},
		{"others", []string{"/f?a=1", "/f?a=2", "/f"}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAnswers()
			var worked atomic.Int32
			leave := make(chan struct{})
			h := a.share(func(w http.ResponseWriter, r *http.Request) {
				worked.Add(1)
				<-leave
				w.Header().Set("X-Query", r.URL.Query().Encode())
				w.WriteHeader(http.StatusTeapot)
				fmt.Fprint(w, "answer")
			})
			var clients sync.WaitGroup
			started := make(chan struct{}, 100)
			for i := range 30 {
				clients.Go(func() {
					r := httptest.NewRequest("GET", c.queries[i%len(c.queries)], nil)
					w := httptest.NewRecorder()
					started <- struct{}{}
					h(w, r)
					if w.Code != http.StatusTeapot || w.Body.String() != "answer" || w.Header().Get("X-Query") != r.URL.Query().Encode() {
						t.Errorf("%s = %d %q for %q", r.URL, w.Code, w.Body, w.Header().Get("X-Query"))
					}
				})
			}
			for range 30 {
				<-started
			}
			time.Sleep(50 * time.Millisecond) // a client that comes later would be worked on anew
			close(leave)
			clients.Wait()
			if n := worked.Load(); n != c.worked {
				t.Errorf("%d were worked on, want %d", n, c.worked)
			}
			if n := len(a.waiting()); n > 0 {
				t.Errorf("%d answers are kept", n)
			}
		})
	}
}

// waiting lists what is worked on.
func (a *answers) waiting() (keys []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k := range a.working {
		keys = append(keys, k)
	}
	return keys
}

// A panic of one query leaves no equal one waiting.
func TestASharedPanicIsAnError(t *testing.T) {
	a := newAnswers()
	h := a.share(func(http.ResponseWriter, *http.Request) { panic("a fault") })
	for range 3 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the server does not see the panic")
				}
			}()
			h(httptest.NewRecorder(), httptest.NewRequest("GET", "/f", nil))
		}()
	}
}

// A countingDaemon counts how often it is asked for everything known of a scenario.
type countingDaemon struct {
	*fake
	details atomic.Int32
}

func (d *countingDaemon) Scenario(name string) (Detail, bool) {
	d.details.Add(1)
	return d.fake.Scenario(name)
}

// A scenario that a query names again is looked at once.
func TestAScenarioNamedAgainIsLookedAtOnce(t *testing.T) {
	for _, c := range []struct {
		query string
		looks int32
		code  int
	}{
		{strings.TrimSuffix(strings.Repeat("scenario=shop-soak&", 3000), "&"), 1, 200},
		{strings.Repeat("scenario=shop-soak&scenario=shop-stress&", 1000), 2, 200},
		{"scenario=shop-soak", 1, 200},
		{strings.Repeat("scenario=nothing&", 1000), 1, 404},
	} {
		d := &countingDaemon{fake: shop(time.Now())}
		w := httptest.NewRecorder()
		h := Handler(Options{Daemon: d, Kinds: kinds, Metrics: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler)})
		h.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/failures?"+c.query, nil))
		if n := d.details.Load(); w.Code != c.code || n != c.looks {
			t.Errorf("%.40s…: %d after %d looks, want %d after %d", c.query, w.Code, n, c.code, c.looks)
		}
	}
}
