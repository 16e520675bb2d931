// Package demo is a shop with known faults, in process: what `perfd demo`, tests
// and benchmarks put load on. Its knobs say the truth about it: how slow each
// endpoint is, how often it fails, how much memory a request leaks.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"
)

// A Shop is the demo target.
type Shop struct {
	handler http.Handler
	metrics
	arrived atomic.Int64
	orders  atomic.Int64
	opened  time.Time
	tracer  trace.Tracer // nil for none

	mu    sync.Mutex
	knobs Knobs         // its maps are never changed, only replaced
	since time.Time     // the instant from which the rollouts of knobs count
	freed chan struct{} // closed when the hang ends; nil while there is none
	rand  *rand.Rand
	leak  leak

	script    []Scene   // that is played; nil for none
	began     time.Time // of the script
	endScript context.CancelFunc
}

// New returns a shop whose chances come from the seed. It panics on knobs that are not valid.
func New(k Knobs, seed uint64) *Shop {
	s := &Shop{opened: time.Now(), rand: rand.New(rand.NewPCG(seed, 1))}
	s.metrics = newMetrics(s)
	if err := s.Set(k); err != nil {
		panic(fmt.Sprintf("demo: knobs of the shop: %v", err))
	}
	s.handler = s.routes()
	return s
}

// ServeHTTP serves the shop.
func (s *Shop) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Serve serves the shop on a listener until ctx ends, which lets go of the
// requests that are held at that instant. No request is under way when it returns.
func (s *Shop) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	closed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := srv.Shutdown(grace); err != nil { // a client opened a connection and sent nothing
			err = srv.Close()
			closed <- err
			return
		}
		closed <- nil
	})
	err := srv.Serve(l)
	if stop() { // ctx goes on: the listener broke
		return fmt.Errorf("serve the demo shop: %w", errors.Join(err, srv.Close()))
	}
	if err := <-closed; err != nil {
		return fmt.Errorf("stop the demo shop: %w", err)
	}
	return nil
}

// Knobs returns the truth of this instant.
func (s *Shop) Knobs() Knobs {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.knobs.after(time.Since(s.since))
}

// Set changes the truth, unless it is not valid.
func (s *Shop) Set(k Knobs) error {
	return s.change(func(into *Knobs) error {
		*into = k.clone()
		return nil
	})
}

// change lets f turn the knobs of this instant; an error leaves them as they are.
func (s *Shop) change(f func(*Knobs) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	k := s.knobs.after(now.Sub(s.since))
	if err := f(&k); err != nil {
		return err
	}
	if err := k.Validate(); err != nil {
		return err
	}
	switch {
	case k.Hang && s.freed == nil:
		s.freed = make(chan struct{})
	case !k.Hang && s.freed != nil:
		close(s.freed)
		s.freed = nil
	}
	s.become(k, now)
	return nil
}

// become makes knobs the truth. A release is a process of its own, which begins with
// empty memory. The caller holds the lock.
func (s *Shop) become(k Knobs, now time.Time) {
	if k.Release != s.knobs.Release {
		s.leak = leak{}
	}
	s.knobs, s.since = k, now
}

// advance makes the releases that are due the truth. The caller holds the lock.
func (s *Shop) advance() {
	if len(s.knobs.Rollouts) == 0 {
		return
	}
	now := time.Now()
	if now.Sub(s.since) >= time.Duration(s.knobs.Rollouts[0].After) {
		s.become(s.knobs.after(now.Sub(s.since)), now)
	}
}

// Leaked is how many bytes the release that serves has leaked.
func (s *Shop) Leaked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leak.size()
}

// Requests is how many requests arrived at all endpoints.
func (s *Shop) Requests() int { return int(s.arrived.Load()) }

func (s *Shop) routes() http.Handler {
	mux := http.NewServeMux()
	for _, e := range endpoints {
		mux.HandleFunc(e.pattern, s.traced(e.pattern, s.faulty(e)))
	}
	mux.HandleFunc("GET /version", s.version)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, object{"ok": true}) })
	mux.HandleFunc("GET /{$}", s.show)
	mux.HandleFunc("GET /knobs", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, s.Knobs()) })
	// A page of another site must not turn the knobs of a shop on somebody's laptop.
	protected := http.NewCrossOriginProtection()
	mux.Handle("POST /knobs", protected.Handler(http.HandlerFunc(s.turn)))
	mux.Handle("POST /turn", protected.Handler(http.HandlerFunc(s.turnByForm)))
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	return mux
}

// faulty puts the shop's faults in front of an endpoint.
func (s *Shop) faulty(e endpoint) http.HandlerFunc {
	requests, failures := s.requests.WithLabelValues(e.pattern), s.failures.WithLabelValues(e.pattern)
	return func(w http.ResponseWriter, r *http.Request) {
		s.arrived.Add(1)
		requests.Inc()
		s.inFlight.Inc()
		defer s.inFlight.Dec()
		f := s.draw(e.pattern)
		// The body is read before the wait: only after its end does net/http notice that a client is gone.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		switch {
		case !f.pass(r.Context()):
		case f.failed:
			failures.Inc()
			wrong(w, http.StatusInternalServerError, "the shop failed, as its knobs say")
		case err != nil:
			wrong(w, http.StatusBadRequest, err.Error())
		default:
			e.serve(s, w, r, body)
		}
	}
}

// turn changes the knobs that a request names and leaves the others.
func (s *Shop) turn(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
	if err == nil {
		err = s.change(func(k *Knobs) error { return decode(text, k) })
	}
	if err != nil {
		wrong(w, http.StatusBadRequest, err.Error())
		return
	}
	s.takeOver()
	reply(w, http.StatusOK, s.Knobs())
}

type object map[string]any

func wrong(w http.ResponseWriter, code int, why string) { reply(w, code, object{"error": why}) }

func reply(w http.ResponseWriter, code int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(code)
	w.Write(text)
}
