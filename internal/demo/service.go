package demo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// A Service is one of the microservices.
type Service struct {
	name    string
	handler http.Handler
	rpc     http.Handler // of requests of gRPC
	faults
	serviceMetrics
	tracer trace.Tracer
	peers  peers
}

// A route is one thing that a client or another service can ask of a service.
type route struct {
	pattern string
	serve   func(w http.ResponseWriter, r *http.Request, body []byte)
	// own routes have their fate themselves, where it befalls what they depend on.
	own bool
}

// callTimeout bounds a call from one service to another.
const callTimeout = 3 * time.Second

func newService(name string, seed uint64, tracer trace.Tracer, p peers, build func(*Service) []route) *Service {
	s := &Service{name: name, tracer: tracer, peers: p}
	s.serviceMetrics = newServiceMetrics(name, &s.faults)
	routes := build(s)
	names := make([]string, len(routes))
	for i, r := range routes {
		names[i] = r.pattern
	}
	s.faults = faults{names: names, opened: time.Now(), leaked: s.serviceMetrics.leaked, rand: rand.New(rand.NewPCG(seed, 2))}
	if err := s.Set(ServiceKnobs(name)); err != nil {
		panic(fmt.Sprintf("demo: knobs of the %s service: %v", name, err))
	}
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.HandleFunc(r.pattern, traced(func() trace.Tracer { return s.tracer }, r.pattern, s.front(r)))
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, object{"ok": true, "service": name})
	})
	panel{
		faults: &s.faults, name: name + " service",
		playing: func() ([]Scene, time.Time) { return nil, time.Time{} }, takeOver: func() {},
	}.mount(mux)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	s.handler = mux
	rpc, err := newRPC(s)
	if err != nil {
		panic(fmt.Sprintf("demo: methods of the %s service: %v", name, err))
	}
	s.rpc = rpc
	return s
}

// ServiceKnobs returns the knobs of a healthy service.
func ServiceKnobs(name string) Knobs {
	k := Knobs{Release: "v1.0.0", Latency: map[string]Latency{"": {10 * milliseconds, 0.4}}}
	switch name {
	case "payment": // what the bank takes
		k.Latency["POST /api/payments"] = Latency{100 * milliseconds, 0.4}
	case "user":
		k.Latency["POST /api/auth/login"] = Latency{40 * milliseconds, 0.3}
	case "order":
		k.Latency["POST /api/orders"] = Latency{20 * milliseconds, 0.4}
	}
	return k
}

// ServeHTTP serves the service, by HTTP and by gRPC.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if isRPC(r) {
		s.rpc.ServeHTTP(w, r)
		return
	}
	s.handler.ServeHTTP(w, r)
}

// Counts returns how many requests each endpoint answered, by status.
func (s *Service) Counts() Counts { return s.answers.Counts() }

// front counts, times and fails requests before they reach their route.
func (s *Service) front(to route) http.HandlerFunc {
	method, _, _ := strings.Cut(to.pattern, " ")
	duration, failures := s.duration.WithLabelValues(to.pattern, method), s.failures.WithLabelValues(to.pattern)
	return func(w http.ResponseWriter, r *http.Request) {
		s.inFlight.Inc()
		defer s.inFlight.Dec()
		begin := time.Now()
		defer func() { duration.Observe(time.Since(begin).Seconds()) }()
		s.answers.counted(to.pattern, w, r, func(w http.ResponseWriter, r *http.Request) {
			if to.own {
				if body, err := readBody(w, r); err != nil {
					wrong(w, http.StatusBadRequest, err.Error())
				} else {
					to.serve(w, r, body)
				}
				return
			}
			body, failed, ok := s.meet(w, r, to.pattern)
			if failed {
				failures.Inc()
			}
			if ok {
				to.serve(w, r, body)
			}
		})
	}
}

// A peerCall is a request from one service to another.
type peerCall struct {
	to     string // name of the service
	method string
	route  string // path with names in place of values, for spans
	path   string // route if empty
	header http.Header
	body   any           // nil for none
	answer any           // what an answer of 2xx is decoded into; nil for nothing
	limit  time.Duration // of the call; callTimeout if 0
}

// call calls another service, in the trace of ctx, and returns the status of its answer. The error says that there was none.
func (s *Service) call(ctx context.Context, c peerCall) (code int, err error) {
	host, port := s.peers.host(c.to)
	ctx, span := s.tracer.Start(ctx, c.method+" "+c.route, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", c.method), attribute.String("url.template", c.route), attribute.String("service.peer.name", c.to),
		attribute.String("server.address", host), attribute.Int("server.port", port),
	))
	defer func() {
		switch {
		case err != nil:
			span.SetStatus(codes.Error, "")
			span.SetAttributes(attribute.String("error.type", fmt.Sprintf("%T", errors.Unwrap(err))))
		default:
			span.SetAttributes(attribute.Int("http.response.status_code", code))
			if code >= 400 {
				span.SetStatus(codes.Error, "")
			}
		}
		span.End()
	}()
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.limit, callTimeout))
	defer cancel()
	body := io.Reader(http.NoBody)
	if c.body != nil {
		text, err := json.Marshal(c.body)
		if err != nil {
			return 0, fmt.Errorf("call the %s service: %w", c.to, err)
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, c.method, s.peers.urls[c.to]+cmp.Or(c.path, c.route), body)
	if err != nil {
		return 0, fmt.Errorf("call the %s service: %w", c.to, err)
	}
	if c.header != nil {
		r.Header = c.header.Clone()
	}
	if c.body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(r.Header))
	resp, err := s.peers.client.Do(r)
	if err != nil {
		return 0, fmt.Errorf("call the %s service: %w", c.to, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && c.answer != nil && resp.StatusCode < 300 {
		err = json.Unmarshal(text, c.answer)
	}
	if err != nil {
		return 0, fmt.Errorf("read the answer of the %s service: %w", c.to, err)
	}
	return resp.StatusCode, nil
}

// failedCall answers for a call that another service did not answer, or answered as no client should see. A client
// that left gets nothing.
func failedCall(w http.ResponseWriter, r *http.Request, service string, code int, err error) {
	switch {
	case r.Context().Err() != nil:
	case errors.Is(err, context.DeadlineExceeded):
		wrong(w, http.StatusGatewayTimeout, "the "+service+" service did not answer in time")
	case err != nil:
		wrong(w, http.StatusBadGateway, "the "+service+" service did not answer")
	default:
		wrong(w, http.StatusBadGateway, fmt.Sprintf("the %s service answered %d", service, code))
	}
}

// serviceMetrics count what a service did.
type serviceMetrics struct {
	registry *prometheus.Registry
	own      prometheus.Registerer // on which every series has the service's name
	answers  answers
	duration *prometheus.HistogramVec
	failures *prometheus.CounterVec
	inFlight prometheus.Gauge
	leaked   prometheus.Counter
}

func newServiceMetrics(name string, f *faults) serviceMetrics {
	m := serviceMetrics{
		registry: newRegistry(),
		answers:  newAnswers("http_requests_total"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "http_request_duration_seconds", Help: "Time from a request's arrival to its answer.",
			Buckets: []float64{.005, .01, .025, .05, .1, .2, .3, .5, .8, 1, 2, 5, 10}, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160,
		}, []string{"endpoint", "method"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "injected_failures_total", Help: "Requests that failed because the knobs say so."}, []string{"endpoint"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "http_requests_in_flight", Help: "Requests under way."}),
		leaked:   prometheus.NewCounter(prometheus.CounterOpts{Name: "leaked_bytes_total", Help: "Memory that requests have leaked."}),
	}
	m.own = prometheus.WrapRegistererWith(prometheus.Labels{"service": name}, m.registry)
	m.own.MustRegister(m.answers, m.duration, m.failures, m.inFlight, m.leaked, releaseCollector{
		f, prometheus.NewDesc("release_info", "The service's release.", []string{"release"}, nil),
	})
	return m
}
