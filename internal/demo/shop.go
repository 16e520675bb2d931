// Package demo is a shop with known faults, in process: what `perfd demo`, tests
// and benchmarks put load on. Its knobs say the truth about it: how slow each
// endpoint is, how often it fails, how much memory a request leaks.
package demo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Knobs are the truth about a shop. The zero value has no faults and no latency.
type Knobs struct {
	// Latency by endpoint pattern, such as "GET /products"; "" is every other endpoint.
	Latency map[string]Latency `json:"latency"`
	// ErrorRatio is the share of requests that are answered with 500, by endpoint likewise.
	ErrorRatio map[string]float64 `json:"error_ratio"`
	// LeakPerRequest is how many bytes each request leaves in memory for ever.
	LeakPerRequest int `json:"leak_bytes_per_request"`
	// Release is the release's name; Slowdown multiplies its latencies (0 is 1).
	Release  string  `json:"release"`
	Slowdown float64 `json:"slowdown"`
	// StallEvery and StallFor hold all requests for a while, again and again.
	StallEvery time.Duration `json:"stall_every_ns"`
	StallFor   time.Duration `json:"stall_for_ns"`
	// Hang holds all requests until it is turned off.
	Hang bool `json:"hang"`
}

// A Latency is a log-normal distribution.
type Latency struct {
	Median time.Duration `json:"median_ns"`
	Sigma  float64       `json:"sigma"` // of the logarithm
}

// Quantile returns the q-quantile of the distribution, 0 < q < 1.
func (l Latency) Quantile(q float64) time.Duration {
	return time.Duration(float64(l.Median) * math.Exp(l.Sigma*math.Sqrt2*math.Erfinv(2*q-1)))
}

// Default returns the knobs of a healthy shop.
func Default() Knobs {
	return Knobs{
		Release: "v1.0.0",
		Latency: map[string]Latency{
			"":                       {20 * time.Millisecond, 0.4},
			"POST /auth/login":       {40 * time.Millisecond, 0.3},
			"GET /products":          {25 * time.Millisecond, 0.5},
			"GET /products/{id}":     {12 * time.Millisecond, 0.4},
			"POST /cart/items":       {30 * time.Millisecond, 0.4},
			"GET /search":            {60 * time.Millisecond, 0.6},
			"POST /reports/generate": {400 * time.Millisecond, 0.3},
			"POST /orders":           {80 * time.Millisecond, 0.5},
		},
		ErrorRatio: map[string]float64{"POST /cart/items": 0.002, "POST /reports/generate": 0.01},
	}
}

// A Shop is the demo target.
type Shop struct {
	handler  http.Handler
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	inFlight prometheus.Gauge

	mu      sync.Mutex
	knobs   Knobs
	release chan struct{} // closed when a hang ends
	started time.Time
	rand    *rand.Rand
	leaked  [][]byte
	bytes   atomic.Int64
	orders  atomic.Int64
}

// New returns a shop whose chances come from the seed.
func New(k Knobs, seed uint64) *Shop {
	s := &Shop{
		knobs: k, release: make(chan struct{}), started: time.Now(),
		rand:     rand.New(rand.NewPCG(seed, 1)),
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shop_requests_total", Help: "Requests that arrived."}, []string{"endpoint"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "shop_requests_in_flight", Help: "Requests under way."}),
	}
	s.registry.MustRegister(s.requests, s.inFlight, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "shop_leaked_bytes", Help: "Memory that requests have leaked."}, func() float64 { return float64(s.bytes.Load()) }),
		releaseCollector{s})
	s.handler = s.routes()
	return s
}

// ServeHTTP serves the shop.
func (s *Shop) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Serve serves the shop on a listener until ctx ends.
func (s *Shop) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // Serve tells that it is closed
	defer stop()
	if err := srv.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve the demo shop: %w", err)
	}
	return nil
}

// Knobs returns the truth.
func (s *Shop) Knobs() Knobs {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.knobs
}

// Set changes the truth.
func (s *Shop) Set(k Knobs) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.knobs.Hang && !k.Hang {
		close(s.release)
		s.release = make(chan struct{})
	}
	s.knobs = k
}

// Requests is how many requests arrived at all endpoints.
func (s *Shop) Requests() int {
	families, err := s.registry.Gather()
	if err != nil {
		return -1
	}
	total := 0.0
	for _, f := range families {
		if f.GetName() == "shop_requests_total" {
			for _, m := range f.GetMetric() {
				total += m.GetCounter().GetValue()
			}
		}
	}
	return int(total)
}

func (s *Shop) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, f := range map[string]http.HandlerFunc{
		"POST /auth/login":       s.login,
		"GET /products":          s.products,
		"GET /products/{id}":     s.product,
		"POST /cart/items":       s.cart,
		"GET /search":            s.search,
		"POST /reports/generate": s.report,
		"POST /orders":           s.order,
	} {
		s.handle(mux, pattern, f)
	}
	for i := range 3 {
		s.handle(mux, fmt.Sprintf("GET /api/intensive-operation-%d", i), s.intensive)
	}
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		release := s.Knobs().Release
		sum := sha256.Sum256([]byte(release))
		reply(w, http.StatusOK, map[string]any{"release": release, "git_sha": hex.EncodeToString(sum[:20])})
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, map[string]any{"ok": true}) })
	mux.HandleFunc("GET /knobs", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, s.Knobs()) })
	mux.HandleFunc("POST /knobs", s.turn)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	return mux
}

// handle puts the shop's faults in front of an endpoint.
func (s *Shop) handle(mux *http.ServeMux, pattern string, f http.HandlerFunc) {
	count := s.requests.WithLabelValues(pattern)
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		count.Inc()
		s.inFlight.Inc()
		defer s.inFlight.Dec()
		if !s.suffer(r.Context(), pattern) {
			reply(w, http.StatusInternalServerError, map[string]any{"error": "the shop failed, as its knobs say"})
			return
		}
		f(w, r)
	})
}

// suffer does to a request what the knobs say, and reports whether it is answered well.
func (s *Shop) suffer(ctx context.Context, endpoint string) bool {
	s.mu.Lock()
	k := s.knobs
	latency, ok := k.Latency[endpoint]
	if !ok {
		latency = k.Latency[""]
	}
	wait := time.Duration(float64(latency.Median) * math.Exp(latency.Sigma*s.rand.NormFloat64()))
	if k.Slowdown > 0 {
		wait = time.Duration(float64(wait) * k.Slowdown)
	}
	ratio, ok := k.ErrorRatio[endpoint]
	if !ok {
		ratio = k.ErrorRatio[""]
	}
	failed := s.rand.Float64() < ratio
	if k.LeakPerRequest > 0 {
		s.leaked = append(s.leaked, make([]byte, k.LeakPerRequest))
		s.bytes.Add(int64(k.LeakPerRequest))
	}
	if k.StallEvery > 0 {
		if phase := time.Since(s.started) % k.StallEvery; phase < k.StallFor {
			wait += k.StallFor - phase
		}
	}
	release := s.release
	s.mu.Unlock()
	if k.Hang {
		select {
		case <-ctx.Done():
			return false
		case <-release:
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return !failed
	}
}

// turn changes the knobs that a request names and leaves the others.
func (s *Shop) turn(w http.ResponseWriter, r *http.Request) {
	k := s.Knobs()
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
	d.DisallowUnknownFields()
	if err := d.Decode(&k); err != nil {
		reply(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
		return
	}
	s.Set(k)
	reply(w, http.StatusOK, k)
}

func (s *Shop) login(w http.ResponseWriter, r *http.Request) {
	var q struct{ Email, Password string }
	if !body(w, r, &q) {
		return
	}
	if q.Email == "" || q.Password == "" {
		reply(w, http.StatusUnauthorized, map[string]any{"error": "email and password are required"})
		return
	}
	sum := sha256.Sum256([]byte(q.Email))
	reply(w, http.StatusOK, map[string]any{"token": hex.EncodeToString(sum[:12]), "user": q.Email})
}

// Products is how many products the shop sells.
const Products = 500

type product struct {
	ID    int     `json:"id"`
	Name  string  `json:"name"`
	Price float64 `json:"price"`
	Stock int     `json:"stock"`
}

func productOf(id int) product {
	adjectives := []string{"Plain", "Fine", "Small", "Large", "Blue", "Red", "Old", "New"}
	nouns := []string{"cup", "chair", "lamp", "coat", "book", "desk", "clock", "bag", "shoe"}
	return product{
		ID: id, Name: adjectives[id%len(adjectives)] + " " + nouns[id%len(nouns)] + " " + strconv.Itoa(id),
		Price: float64(500+id*37%9500) / 100, Stock: id * 7 % 100,
	}
}

func number(r *http.Request, name string, otherwise, most int) int {
	n, err := strconv.Atoi(r.FormValue(name))
	if err != nil || n < 1 {
		return otherwise
	}
	return min(n, most)
}

func (s *Shop) products(w http.ResponseWriter, r *http.Request) {
	var out []product
	for id := 1; id <= number(r, "limit", 20, 100); id++ {
		out = append(out, productOf(id))
	}
	reply(w, http.StatusOK, map[string]any{"products": out, "total": Products})
}

func (s *Shop) product(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || id < 1 || id > Products {
		reply(w, http.StatusNotFound, map[string]any{"error": "no such product"})
		return
	}
	reply(w, http.StatusOK, productOf(id))
}

func (s *Shop) cart(w http.ResponseWriter, r *http.Request) {
	var q struct {
		ProductID int `json:"productId"`
		Quantity  int `json:"quantity"`
	}
	if !body(w, r, &q) {
		return
	}
	if q.ProductID < 1 || q.ProductID > Products || q.Quantity < 1 {
		reply(w, http.StatusBadRequest, map[string]any{"error": "productId and quantity are required"})
		return
	}
	reply(w, http.StatusCreated, map[string]any{"productId": q.ProductID, "quantity": q.Quantity, "total": productOf(q.ProductID).Price * float64(q.Quantity)})
}

func (s *Shop) search(w http.ResponseWriter, r *http.Request) {
	words := strings.ToLower(r.FormValue("q"))
	limit := number(r, "limit", 50, 100)
	results := []product{}
	for id := 1; id <= Products && len(results) < limit; id++ {
		if p := productOf(id); strings.Contains(strings.ToLower(p.Name), words) {
			results = append(results, p)
		}
	}
	reply(w, http.StatusOK, map[string]any{"results": results, "query": words})
}

func (s *Shop) report(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusAccepted, map[string]any{"report": s.orders.Add(1), "state": "queued"})
}

func (s *Shop) order(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusCreated, map[string]any{"orderId": s.orders.Add(1)})
}

func (s *Shop) intensive(w http.ResponseWriter, _ *http.Request) {
	sum := sha256.Sum256([]byte("shop"))
	for range 2000 {
		sum = sha256.Sum256(sum[:])
	}
	reply(w, http.StatusOK, map[string]any{"result": hex.EncodeToString(sum[:])})
}

func body(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(v); err != nil {
		reply(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
		return false
	}
	return true
}

func reply(w http.ResponseWriter, code int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(code)
	_, _ = w.Write(text) // a client that left is no fault
}

// releaseCollector exposes the release as an info metric.
type releaseCollector struct{ s *Shop }

var releaseDesc = prometheus.NewDesc("shop_release_info", "The shop's release.", []string{"release"}, nil)

func (releaseCollector) Describe(ch chan<- *prometheus.Desc) { ch <- releaseDesc }

func (c releaseCollector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(releaseDesc, prometheus.GaugeValue, 1, c.s.Knobs().Release)
}
