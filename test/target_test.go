package e2e

import (
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// A target is a server that notes when each request came, by path. It answers
// 200 at once unless a handler is set.
type target struct {
	URL string

	mu       sync.Mutex
	arrivals map[string][]time.Time
}

// newTarget starts a target until the test ends. configure may change the
// server before it starts; both arguments may be nil.
func newTarget(t *testing.T, answer http.HandlerFunc, configure func(*http.Server)) *target {
	t.Helper()
	g := &target{arrivals: map[string][]time.Time{}}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		g.mu.Lock()
		g.arrivals[r.URL.Path] = append(g.arrivals[r.URL.Path], now)
		g.mu.Unlock()
		if answer != nil {
			answer(w, r)
		}
	}))
	if configure != nil {
		configure(s.Config)
	}
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	g.URL = s.URL
	return g
}

// at returns when requests to a path came, oldest first.
func (g *target) at(path string) []time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]time.Time(nil), g.arrivals[path]...)
}

// since counts the requests to a path that came after an instant.
func (g *target) since(path string, from time.Time) int {
	n := 0
	for _, at := range g.at(path) {
		if at.After(from) {
			n++
		}
	}
	return n
}

// slowly answers after a log-normal time: half within 10 ms, one in a hundred
// after more than 40 ms.
func slowly(http.ResponseWriter, *http.Request) {
	time.Sleep(time.Duration(float64(10*time.Millisecond) * math.Exp(0.6*rand.NormFloat64())))
}

// A gate holds requests while it is shut. It is open to begin with.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // nil while it is open, closed when it opens
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
	g.open = nil
}

// ServeHTTP waits at the gate, or until the client is gone.
func (g *gate) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	if open == nil {
		return
	}
	select {
	case <-open:
	case <-r.Context().Done():
	}
}
