package remotewrite

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A sample is what a receiver took. Stale markers and histograms differ in their text.
type sample struct {
	at   int64
	text string
}

// A receiver decodes requests with the library's own decoders and keeps what they hold by series.
type receiver struct {
	*httptest.Server
	t  testing.TB
	mu sync.Mutex
	// answer decides before anything is kept: 0 takes the request.
	answer   func(n int, req *http.Request, series map[string][]sample) (code int, headers map[string]string, text string)
	got      map[string][]sample
	requests []http.Header
	sizes    []int
	v1Only   bool
	starts   func(series string, start int64)
	onSecond func(*writev2.Request)
	onFirst  func(*prompb.WriteRequest)

	exemplars map[string][]string // trace id and value, by series
	complain  []string
}

// Answers that are none: the connection ends, with the request taken or not.
const (
	gone         = -1
	takenAndGone = -2
)

func newReceiver(t testing.TB) *receiver {
	r := &receiver{t: t, got: map[string][]sample{}, exemplars: map[string][]string{}}
	r.Server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) serve(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	raw, err := snappy.Decode(nil, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	second := req.Header.Get("Content-Type") == "application/x-protobuf;proto=io.prometheus.write.v2.Request"
	var series map[string][]sample
	n := 0
	if second && !r.v1Only {
		series, n = r.second(raw)
	} else {
		series, n = r.first(raw)
	}
	r.requests = append(r.requests, req.Header.Clone())
	r.sizes = append(r.sizes, n)
	if r.answer != nil {
		if code, headers, text := r.answer(len(r.requests)-1, req, series); code != 0 {
			if code == takenAndGone {
				for name, samples := range series {
					r.got[name] = append(r.got[name], samples...)
				}
			}
			if code < 0 {
				panic(http.ErrAbortHandler)
			}
			for k, v := range headers {
				w.Header().Set(k, v)
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, text)
			return
		}
	}
	for name, samples := range series {
		r.got[name] = append(r.got[name], samples...)
	}
	if second && !r.v1Only {
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", fmt.Sprint(n))
		w.Header().Set("X-Prometheus-Remote-Write-Histograms-Written", "0")
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) first(raw []byte) (map[string][]sample, int) {
	var req prompb.WriteRequest
	if err := req.Unmarshal(raw); err != nil {
		if r.v1Only {
			return nil, 0 // what a 1.0 receiver finds in a 2.0 request
		}
		r.t.Errorf("decode: %v", err)
		return nil, 0
	}
	if r.onFirst != nil {
		r.onFirst(&req)
	}
	series, n := map[string][]sample{}, 0
	b := labels.NewScratchBuilder(0)
	for _, ts := range req.Timeseries {
		r.check(labelNames(ts.Labels))
		name := ts.ToLabels(&b, nil).String()
		for _, s := range ts.Samples {
			n++
			series[name] = append(series[name], sample{s.Timestamp, valueText(s.Value)})
		}
		for _, x := range ts.Exemplars {
			r.exemplars[name] = append(r.exemplars[name], fmt.Sprint(x.Labels[0].Value, " ", x.Value))
		}
		for _, h := range ts.Histograms {
			n++
			series[name] = append(series[name], sample{h.Timestamp, histogramText(h.Sum, h.ToIntHistogram().String())})
		}
	}
	return series, n
}

func (r *receiver) second(raw []byte) (map[string][]sample, int) {
	var req writev2.Request
	if err := req.Unmarshal(raw); err != nil {
		r.t.Errorf("decode: %v", err)
		return nil, 0
	}
	if r.onSecond != nil {
		r.onSecond(&req)
	}
	if len(req.Symbols) == 0 || req.Symbols[0] != "" {
		r.complain = append(r.complain, "symbols do not begin with the empty one")
	}
	if seen := slices.Sorted(slices.Values(req.Symbols)); len(slices.Compact(seen)) != len(req.Symbols) {
		r.complain = append(r.complain, "symbols repeat")
	}
	series, n := map[string][]sample{}, 0
	b := labels.NewScratchBuilder(0)
	for _, ts := range req.Timeseries {
		var names []string
		for i := 0; i < len(ts.LabelsRefs); i += 2 {
			names = append(names, req.Symbols[ts.LabelsRefs[i]])
		}
		r.check(names)
		if len(ts.Samples) > 0 && len(ts.Histograms) > 0 {
			r.complain = append(r.complain, "samples and histograms are mixed")
		}
		l, err := ts.ToLabels(&b, req.Symbols)
		if err != nil {
			r.complain = append(r.complain, err.Error())
		}
		for _, s := range ts.Samples {
			n++
			series[l.String()] = append(series[l.String()], sample{s.Timestamp, valueText(s.Value)})
			if r.starts != nil {
				r.starts(l.String(), s.StartTimestamp)
			}
		}
		for _, x := range ts.Exemplars {
			r.exemplars[l.String()] = append(r.exemplars[l.String()], fmt.Sprint(req.Symbols[x.LabelsRefs[1]], " ", x.Value))
		}
		for _, h := range ts.Histograms {
			n++
			series[l.String()] = append(series[l.String()], sample{h.Timestamp, histogramText(h.Sum, h.ToIntHistogram().String())})
		}
	}
	return series, n
}

func (r *receiver) check(names []string) {
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		r.complain = append(r.complain, fmt.Sprintf("labels %v are not sorted or repeat", names))
	}
}

func labelNames(list []prompb.Label) (names []string) {
	for _, l := range list {
		names = append(names, l.Name)
		if l.Value == "" {
			names = append(names, "empty value")
		}
	}
	return names
}

func valueText(v float64) string {
	if math.Float64bits(v) == value.StaleNaN {
		return "stale"
	}
	return fmt.Sprint(v)
}

func histogramText(sum float64, text string) string {
	if math.Float64bits(sum) == value.StaleNaN {
		return "stale"
	}
	return text
}

// took returns the samples of a series, waiting until there are n.
func (r *receiver) took(name string, n int) []sample {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		r.mu.Lock()
		got := slices.Clone(r.got[name])
		r.mu.Unlock()
		if len(got) >= n {
			return got
		}
		if time.Now().After(deadline) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.t.Fatalf("%s has %d samples, want %d; there are %v", name, len(got), n, slices.Sorted(maps.Keys(r.got)))
		}
	}
}

func (r *receiver) counts() (requests int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.requests)
}

// inPlace is a recorder: every series is in the same message.
type inPlace struct{ prometheus.Gatherer }

func (g inPlace) Gather() metric.Series {
	return func(yield func(*dto.MetricFamily, *dto.Metric) bool) {
		families, err := g.Gatherer.Gather()
		if err != nil {
			panic(err)
		}
		var one dto.Metric
		for _, f := range families {
			for _, m := range f.Metric {
				proto.Reset(&one)
				proto.Merge(&one, m)
				if !yield(f, &one) {
					return
				}
			}
		}
	}
}

// config decodes an endpoint as the configuration does.
func endpointOf(t testing.TB, url, more string) Config {
	t.Helper()
	var errs block.Errors
	text := fmt.Sprintf("remote_write:\n  - {url: %q, identity: {job: perfd, instance: a}, min_backoff: 1ms, max_backoff: 20ms%s}\n", url, more)
	var d struct {
		RemoteWrite []Config `yaml:"remote_write"`
	}
	block.Decode(block.Parse("perfd.yaml", []byte(text), &errs), &d, &errs)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return d.RemoteWrite[0]
}

// A rig is a writer whose snapshots a test takes itself.
type rig struct {
	*Writer
	dir string
	log *strings.Builder
}

func newRig(t testing.TB, dir string, r *prometheus.Registry, endpoints ...Config) *rig {
	t.Helper()
	return newRigOf(t, dir, inPlace{r}, endpoints...)
}

func newRigOf(t testing.TB, dir string, scenarios metric.Source, endpoints ...Config) *rig {
	t.Helper()
	log := &strings.Builder{}
	w, err := New(Options{
		Endpoints: endpoints, Queue: QueueConfig{Interval: DefaultQueue().Interval, MaxBytes: 64 << 20, MaxAge: block.Duration(time.Hour), FsyncInterval: block.Duration(time.Second)},
		FS: queue.Dir(dir), Scenarios: scenarios, Daemon: prometheus.NewRegistry(), UserAgent: "perfd/test",
		Log: slog.New(slog.NewTextHandler(&locked{to: log}, nil)), Dir: dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.load()
	w.attach()
	return &rig{w, dir, log}
}

type locked struct {
	mu sync.Mutex
	to io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}

// startEndpoints starts all but the ticks.
func (r *rig) startEndpoints() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	for _, e := range r.endpoints {
		r.sending.Go(func() { e.run(ctx) })
	}
	return func() {
		cancel()
		r.sending.Wait()
		for _, e := range r.endpoints {
			e.client.CloseIdleConnections()
		}
	}
}

// snapshots takes n of them a second apart, each after a turn.
func (r *rig) snapshots(from time.Time, n int, turn func()) {
	for k := range n {
		turn()
		r.Snapshot(from.Add(time.Duration(k) * time.Second))
	}
}

// finished waits until the endpoints know what became of n snapshots: what the
// receiver took may not have been answered yet.
func (r *rig) finished(from time.Time, n int) {
	for last := from.Add(time.Duration(n-1) * time.Second); r.Sent().Before(last); {
		time.Sleep(time.Millisecond)
	}
}

// close frees what a writer has that was never started.
func (r *rig) close() { _, _ = r.detach(), r.queue.Close() }

// crash ends everything without what a stop does.
func (r *rig) crash(stop func()) {
	stop()
	r.close()
}

// base is when the tests' snapshots begin.
func base() time.Time { return time.Now().Add(-10 * time.Minute).Truncate(time.Second) }
