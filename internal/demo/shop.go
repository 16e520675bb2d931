// Package demo is a shop with known faults, in process: what `perfd demo`, tests
// and benchmarks put load on. Its knobs say the truth about it: how slow each
// endpoint is, how often it fails, how much memory a request leaks. Its counts
// say what it answered, to the request.
//
// What the shop knows is real: carts fill, orders take from the stock, reports
// take time. All of it is bounded and forgotten after a while, so that the shop
// stands load for months. Services are seven microservices likewise, which call
// each other.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"
)

// A Shop is the demo target.
type Shop struct {
	handler http.Handler
	faults
	metrics
	arrived atomic.Int64
	tracer  trace.Tracer // nil for none
	signer  signer
	trade   trade
	streams hub
	key     keys

	// The lock of the faults guards the script, too.
	script    []Scene   // that is played; nil for none
	began     time.Time // of the script
	endScript context.CancelFunc
}

// New returns a shop whose chances come from the seed. It panics on knobs that are not valid.
func New(k Knobs, seed uint64) *Shop {
	s := &Shop{signer: newSigner(), trade: newTrade(), key: keys{key: Key}}
	s.metrics = newMetrics(s)
	s.faults = faults{names: endpointNames(), opened: time.Now(), leaked: s.metrics.leaked, rand: rand.New(rand.NewPCG(seed, 1))}
	if err := s.Set(k); err != nil {
		panic(fmt.Sprintf("demo: knobs of the shop: %v", err))
	}
	s.handler = s.routes()
	return s
}

// RequireKey makes the shop ask every client for an API key. It must be called before requests arrive.
func (s *Shop) RequireKey(key string) { s.key = keys{key: key, required: true} }

// ServeHTTP serves the shop.
func (s *Shop) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Serve serves the shop on a listener until ctx ends, which lets go of the
// requests that are held at that instant and tells the clients of streams that it goes. No request is under way, and
// no stream open, when it returns.
func (s *Shop) Serve(ctx context.Context, l net.Listener) error {
	err := serve(ctx, l, s)
	s.streams.open.Wait()
	if err != nil {
		return fmt.Errorf("demo shop: %w", err)
	}
	return nil
}

// serve serves a handler on a listener until ctx ends, which lets go of the requests that are held at
// that instant. No request is under way when it returns.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // which gRPC needs
	srv := &http.Server{
		Handler: h, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
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
		return fmt.Errorf("serve: %w", errors.Join(err, srv.Close()))
	}
	if err := <-closed; err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}

// Requests is how many requests arrived at all endpoints.
func (s *Shop) Requests() int { return int(s.arrived.Load()) }

// An offer is a product with what is left of it.
type offer struct {
	product
	Stock int `json:"stock"`
}

func (s *Shop) offers(of []product) []offer {
	offers := make([]offer, len(of))
	s.trade.stock.look(s.truth(), time.Now(), func(left *[Products]int) {
		for i, p := range of {
			offers[i] = offer{p, left[p.ID-1]}
		}
	})
	return offers
}

// Counts returns how many requests each endpoint answered, by status.
func (s *Shop) Counts() Counts { return s.answers.Counts() }

func (s *Shop) routes() http.Handler {
	mux := http.NewServeMux()
	for _, e := range endpoints {
		mux.HandleFunc(e.pattern, traced(func() trace.Tracer { return s.tracer }, e.pattern, s.faulty(e)))
	}
	mux.HandleFunc("GET /version", s.version)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, object{"ok": true}) })
	panel{faults: &s.faults, name: "shop", playing: s.playing, takeOver: s.takeOver}.mount(mux)
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
		s.answers.counted(e.pattern, w, r, func(w http.ResponseWriter, r *http.Request) {
			body, failed, ok := s.meet(w, r, e.pattern)
			if failed {
				failures.Inc()
			}
			switch {
			case !ok:
			case !s.key.opens(r):
				wrong(w, http.StatusUnauthorized, "the X-API-Key is not the shop's")
			default:
				e.serve(s, w, r, body)
			}
		})
	}
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
