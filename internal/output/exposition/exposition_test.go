package exposition

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	acceptText        = "text/plain; version=0.0.4"
	acceptOpenMetrics = "application/openmetrics-text; version=1.0.0"
	acceptProtobuf    = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

// recorded returns a recorder of scenarios × steps pairs with results of log-normal latencies each.
func recorded(t testing.TB, scenarios, steps, results int, o record.Options) (*record.Recorder, []*record.Sink) {
	t.Helper()
	r := record.New(o)
	sinks := make([]*record.Sink, scenarios)
	for i := range sinks {
		s := record.Scenario{Name: fmt.Sprintf("scenario-%03d", i), Test: "load", Executor: "constant-arrival-rate", Model: "open"}
		for j := range steps {
			s.Steps = append(s.Steps, record.Series{Step: fmt.Sprintf("sign-in/step-%03d", j), Target: "shop", Protocol: "http", Checks: []string{"has a token"}})
		}
		var err error
		if sinks[i], err = r.Open(s); err != nil {
			t.Fatal(err)
		}
	}
	fill(sinks, steps, results)
	return r, sinks
}

func fill(sinks []*record.Sink, steps, results int) {
	random := rand.New(rand.NewPCG(1, uint64(results)))
	for _, s := range sinks {
		for i := range steps * results {
			d := int64(20e6 * math.Exp(0.5*random.NormFloat64()))
			s.Record(i, &load.Result{
				Step: i % steps, Sent: 50e3, Done: 50e3 + d, Code: 200, SentBytes: 120, ReceivedBytes: 900, Checks: 1,
				Phases: [load.NumPhases]int64{load.PhaseFirstByte: d - 1e5, load.PhaseTransfer: 1e5},
			})
			s.Started(i)
			s.Iteration(&load.Iteration{VU: i, Start: 50e3, End: 50e3 + d})
		}
	}
}

func daemon() *prometheus.Registry {
	r := prometheus.NewPedanticRegistry()
	// In OpenMetrics go_memstats_alloc_bytes, a gauge, would clash with the counter go_memstats_alloc_bytes_total.
	r.MustRegister(collectors.NewGoCollector(collectors.WithGoCollectorMemStatsMetricsDisabled()))
	metric.Paused.Gauge(r).Set(1)
	metric.Runs.CounterVec(r).WithLabelValues("scenario-000", "pass").Add(3)
	return r
}

func get(t testing.TB, h http.Handler, accept, encoding string) *http.Response {
	t.Helper()
	req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Encoding", encoding)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Result()
}

// decoded parses an answer and returns its families by name.
func decoded(t *testing.T, res *http.Response, body io.Reader) map[string]*dto.MetricFamily {
	t.Helper()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(body)
		t.Fatalf("status %d: %s", res.StatusCode, text)
	}
	families := make(map[string]*dto.MetricFamily)
	d := expfmt.NewDecoder(body, expfmt.ResponseFormat(res.Header))
	for {
		f := new(dto.MetricFamily)
		err := d.Decode(f)
		if errors.Is(err, io.EOF) {
			return families
		}
		if err != nil {
			t.Fatalf("decode %s: %v", res.Header.Get("Content-Type"), err)
		}
		families[f.GetName()] = f
	}
}

func TestEveryFormatSaysTheSame(t *testing.T) {
	steps := 2 // few: expfmt's parser of OpenMetrics takes milliseconds a line
	if testing.Short() {
		steps = 1
	}
	r, _ := recorded(t, 1, steps, 500, record.Options{})
	h := New(Options{Scenarios: r, Daemon: daemon()})
	for _, c := range []struct{ accept, contentType string }{
		{"", "text/plain; version=0.0.4; charset=utf-8"},
		{acceptText, "text/plain; version=0.0.4; charset=utf-8"},
		{acceptOpenMetrics, "application/openmetrics-text; version=1.0.0; charset=utf-8"},
		{acceptProtobuf, "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"},
		{acceptProtobuf + ";q=0.5, " + acceptOpenMetrics + ";q=0.7", "application/openmetrics-text; version=1.0.0; charset=utf-8"},
	} {
		t.Run(c.accept, func(t *testing.T) {
			res := get(t, h, c.accept, "")
			if got := res.Header.Get("Content-Type"); !strings.HasPrefix(got, c.contentType) {
				t.Errorf("Content-Type = %q, want %q", got, c.contentType)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			openMetrics := strings.HasPrefix(c.contentType, "application/openmetrics")
			if got := bytes.HasSuffix(body, []byte("# EOF\n")); got != openMetrics {
				t.Errorf("ends with # EOF: %v, want %v", got, openMetrics)
			}
			if testing.Short() && strings.Contains(c.accept, "q=0.7") {
				return // the answer is that of OpenMetrics alone
			}
			families := decoded(t, res, bytes.NewReader(body))
			if typed := bytes.Contains(body, []byte("# TYPE perfd_requests counter\n")); typed != openMetrics {
				t.Errorf("the type of counters is given without _total: %v, want %v", typed, openMetrics)
			}
			family := func(d *metric.Desc) *dto.MetricFamily {
				f := families[d.Name]
				if f == nil {
					t.Fatalf("no family %s", d.Name)
				}
				return f
			}
			requests := family(metric.Requests)
			if n := len(requests.Metric); n != steps {
				t.Errorf("%d series of requests, want %d", n, steps)
			}
			for _, m := range requests.Metric {
				if got := m.Counter.GetValue(); got != 500 {
					t.Errorf("requests of %v = %v, want 500", m.Label, got)
				}
			}
			if got := family(metric.Runs).Metric[0].Counter.GetValue(); got != 3 {
				t.Errorf("the daemon's own counter = %v, want 3", got)
			}
			for _, d := range []*metric.Desc{metric.RequestDuration, metric.ResponseTime, metric.IterationDuration} {
				for _, m := range family(d).Metric {
					want := uint64(500)
					if d == metric.IterationDuration {
						want = uint64(500 * steps)
					}
					if got := m.Histogram.GetSampleCount(); got != want {
						t.Errorf("count of %s %v = %d, want %d", d.Name, m.Label, got, want)
					}
					if !slices.ContainsFunc(m.Histogram.Bucket, func(b *dto.Bucket) bool { return b.GetCumulativeCount() == want }) {
						t.Errorf("no classic bucket of %s %v counts all", d.Name, m.Label)
					}
					if native := len(m.Histogram.PositiveSpan) > 0; native != strings.Contains(c.contentType, "protobuf") {
						t.Errorf("%s has a native histogram: %v", d.Name, native)
					}
				}
			}
		})
	}
}

func TestAnswersAreCompressedAsAsked(t *testing.T) {
	r, _ := recorded(t, 1, 1, 10, record.Options{})
	h := New(Options{Scenarios: r, Daemon: daemon()})
	for _, c := range []struct{ header, want string }{
		{"", ""},
		{"identity", ""},
		{"br, deflate", ""},
		{"gzip", "gzip"},
		{"GZIP;q=0.1", "gzip"},
		{"gzip, deflate, br, zstd", "zstd"},
		{"gzip;q=1.0, zstd;q=0.5", "gzip"},
		{"gzip;q=0", ""},
		{"gzip;q=nonsense", ""},
		{"*", "zstd"},
		{"zstd;q=0, *", "gzip"},
	} {
		t.Run(c.header, func(t *testing.T) {
			for range 2 { // the second uses the first one's compressor again
				res := get(t, h, acceptText, c.header)
				if got := res.Header.Get("Content-Encoding"); got != c.want {
					t.Fatalf("Content-Encoding = %q, want %q", got, c.want)
				}
				var body io.Reader = res.Body
				switch c.want {
				case "gzip":
					z, err := gzip.NewReader(body)
					if err != nil {
						t.Fatal(err)
					}
					body = z
				case "zstd":
					z, err := zstd.NewReader(body)
					if err != nil {
						t.Fatal(err)
					}
					defer z.Close()
					body = z
				}
				if got := decoded(t, res, body)[metric.Requests.Name].Metric[0].Counter.GetValue(); got != 10 {
					t.Errorf("requests = %v, want 10", got)
				}
			}
		})
	}
}

// gatherer is a gatherer of given families or a given error.
// A gatherer is a recorder that yields the metrics of families.
type gatherer []*dto.MetricFamily

func (g gatherer) Gather() metric.Series {
	return func(yield func(*dto.MetricFamily, *dto.Metric) bool) {
		for _, f := range g {
			for _, m := range f.Metric {
				if !yield(f, m) {
					return
				}
			}
		}
	}
}

// all returns copies of everything that a recorder yields, by family.
func all(from metric.Source) (families []*dto.MetricFamily) {
	var last *dto.MetricFamily
	for f, m := range from.Gather() {
		if f != last {
			last = f
			families = append(families, proto.CloneOf(f))
		}
		own := families[len(families)-1]
		own.Metric = append(own.Metric, proto.CloneOf(m))
	}
	return families
}

func gauge(name string) *dto.MetricFamily {
	return &dto.MetricFamily{
		Name: new(name), Type: dto.MetricType_GAUGE.Enum(),
		Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: proto.Float64(1)}}},
	}
}

func TestFamiliesAreMergedByName(t *testing.T) {
	g := gatherer{gauge("b"), gauge("d"), gauge("e")}
	h := New(Options{Scenarios: g, Daemon: prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		return []*dto.MetricFamily{gauge("a"), gauge("c"), gauge("f"), gauge("g")}, nil
	})})
	body, err := io.ReadAll(get(t, h, acceptText, "").Body)
	if err != nil {
		t.Fatal(err)
	}
	const want = "# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n# TYPE c gauge\nc 1\n# TYPE d gauge\nd 1\n# TYPE e gauge\ne 1\n# TYPE f gauge\nf 1\n# TYPE g gauge\ng 1\n"
	if diff := cmp.Diff(want, string(body)); diff != "" {
		t.Errorf("exposition differs (-want +got):\n%s", diff)
	}
}

func TestErrorsOfGatheringAreAnsweredAndLogged(t *testing.T) {
	const want = "collector is broken"
	var log bytes.Buffer
	h := New(Options{
		Scenarios: gatherer{},
		Daemon: prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			return []*dto.MetricFamily{gauge("a")}, errors.New(want)
		}),
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	res := get(t, h, acceptText, "gzip")
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusInternalServerError || !strings.Contains(string(body), want) {
		t.Errorf("answer = %d %q, want 500 with %q", res.StatusCode, body, want)
	}
	if !strings.Contains(log.String(), want) {
		t.Errorf("log = %q, want %q in it", log.String(), want)
	}
}

// What cannot be exposed is left out and counted; the rest is answered.
func TestWhatCannotBeExposedIsLeftOut(t *testing.T) {
	wrong := gauge("b")
	wrong.Type = dto.MetricType_COUNTER.Enum()
	for _, c := range []struct {
		name      string
		scenarios metric.Source
		daemon    []*dto.MetricFamily
		want      metric.Drop
	}{
		{"a family of both", gatherer{gauge("a"), gauge("z")}, nil, metric.Duplicate},
		{"a family without metrics", gatherer{gauge("z")}, []*dto.MetricFamily{{Name: new("b")}}, metric.Malformed},
		{"a value of another type", gatherer{wrong, gauge("z")}, nil, metric.Malformed},
		{"a value of another type of the daemon's", gatherer{gauge("z")}, []*dto.MetricFamily{wrong}, metric.Malformed},
		{"a panic", panics{}, nil, metric.Panicked},
	} {
		for _, accept := range []string{acceptText, acceptOpenMetrics, acceptProtobuf} {
			t.Run(c.name, func(t *testing.T) {
				var dropped []metric.Drop
				h := New(Options{
					Scenarios: c.scenarios,
					Daemon: prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
						return append([]*dto.MetricFamily{gauge("a")}, c.daemon...), nil
					}),
					Drop: func(why metric.Drop, _ string) { dropped = append(dropped, why) },
				})
				res := get(t, h, accept, "")
				body, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				if res.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("a")) || bytes.Contains(body, []byte("b")) && accept == acceptText {
					t.Errorf("answer = %d %q, want 200 with the families that are right", res.StatusCode, body)
				}
				if has := bytes.Contains(body, []byte("z")); has != (c.want != metric.Panicked) {
					t.Errorf("the family z is there: %v", has)
				}
				if !slices.Equal(dropped, []metric.Drop{c.want}) {
					t.Errorf("dropped = %v, want %v", dropped, c.want)
				}
			})
		}
	}
}

// panics is a recorder with a defect.
type panics struct{}

func (panics) Gather() metric.Series {
	return func(yield func(*dto.MetricFamily, *dto.Metric) bool) { panic("recorder") }
}

// slow is a client that takes no byte until it is released.
type slow struct {
	*httptest.ResponseRecorder
	writing chan struct{}
	release chan struct{}
}

func (s *slow) Write(p []byte) (int, error) {
	s.writing <- struct{}{}
	<-s.release
	return s.ResponseRecorder.Write(p)
}

func TestASlowClientHoldsUpNoOtherScrape(t *testing.T) {
	r, _ := recorded(t, 1, 1, 1, record.Options{})
	h := New(Options{Scenarios: r, Daemon: daemon(), MaxInFlight: 2})
	clients := []*slow{}
	done := make(chan struct{})
	for range 2 {
		s := &slow{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
		clients = append(clients, s)
		if len(clients) == 2 {
			if res := get(t, h, acceptText, ""); res.StatusCode != http.StatusOK {
				t.Errorf("status beside one slow client = %d, want 200", res.StatusCode)
			}
		}
		go func() {
			h.ServeHTTP(s, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			done <- struct{}{}
		}()
		<-s.writing
	}
	if res := get(t, h, acceptText, ""); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status beside as many scrapes as allowed = %d, want 503", res.StatusCode)
	}
	for _, s := range clients {
		close(s.release)
		<-done
	}
	if res := get(t, h, acceptText, ""); res.StatusCode != http.StatusOK {
		t.Errorf("status afterwards = %d, want 200", res.StatusCode)
	}
}

// sized counts an answer's bytes and drops them.
type sized struct {
	header http.Header
	bytes  int
}

func (s *sized) Header() http.Header         { return s.header }
func (s *sized) WriteHeader(int)             {}
func (s *sized) Write(p []byte) (int, error) { s.bytes += len(p); return len(p), nil }

func BenchmarkScrape(b *testing.B) {
	for _, shape := range []struct{ scenarios, steps int }{{100, 10}, {1000, 1}} {
		r, _ := recorded(b, shape.scenarios, shape.steps, 1000, record.Options{})
		h := New(Options{Scenarios: r, Daemon: daemon()})
		for _, c := range []struct{ name, accept, encoding string }{
			{"text", acceptText, ""},
			{"text-gzip", acceptText, "gzip"},
			{"openmetrics", acceptOpenMetrics, ""},
			{"protobuf", acceptProtobuf, ""},
			{"protobuf-gzip", acceptProtobuf, "gzip"},
		} {
			b.Run(fmt.Sprintf("%dx%d/%s", shape.scenarios, shape.steps, c.name), func(b *testing.B) {
				b.ReportAllocs()
				req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
				req.Header.Set("Accept", c.accept)
				req.Header.Set("Accept-Encoding", c.encoding)
				var w *sized
				for b.Loop() {
					w = &sized{header: make(http.Header)}
					h.ServeHTTP(w, req)
				}
				b.ReportMetric(float64(w.bytes), "body-bytes")
			})
		}
	}
}
