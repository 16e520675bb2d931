package target

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"

	"github.com/perfd/perfd/internal/demo"
	"github.com/perfd/perfd/internal/load"
)

// serve runs a server until the test ends, without a watch's connections to it.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// once makes each read of a watch once, and returns their errors.
func once(t *testing.T, w *Watch) []error {
	t.Helper()
	defer w.client.closeIdle()
	var errs []error
	for _, r := range w.reads {
		errs = append(errs, r.do(t.Context()))
	}
	return errs
}

func configOf(t *testing.T, address, text string) *Config {
	t.Helper()
	c := config(t, text)
	c.URL.S = address
	return c
}

func TestServersNegotiateTheFormat(t *testing.T) {
	for _, offered := range [][]expfmt.FormatType{
		{expfmt.TypeTextPlain},
		{expfmt.TypeOpenMetrics},
		{expfmt.TypeProtoDelim},
		{expfmt.TypeTextPlain, expfmt.TypeOpenMetrics, expfmt.TypeProtoDelim},
	} {
		var chosen expfmt.FormatType
		address := serve(t, func(w http.ResponseWriter, r *http.Request) {
			format := expfmt.FmtText
			if n := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...); slices.Contains(offered, n.FormatType()) {
				format = n
			} else if !slices.Contains(offered, expfmt.TypeTextPlain) {
				format = expfmt.NewFormat(offered[0]) // it has nothing else
			}
			chosen = format.FormatType()
			w.Header().Set("Content-Type", string(format))
			_, _ = w.Write([]byte(exposed(t, format)))
		})
		var samples []string
		w := NewWatch(Options{
			Config: configOf(t, address, "resources: [{name: heap, kind: memory, scrape: /metrics, metric: heap_bytes, member: area}]"),
			Sample: func(s load.Sample) { samples = append(samples, fmt.Sprint(s.Member, " ", s.Last)) },
		})
		for _, err := range once(t, w) {
			if err != nil {
				t.Errorf("%v: %v", offered, err)
			}
		}
		if diff := cmp.Diff([]string{"x 1.5e+09", "y -3"}, samples); diff != "" {
			t.Errorf("%v (-want +got):\n%s", offered, diff)
		}
		if len(offered) > 1 && chosen != expfmt.TypeOpenMetrics {
			t.Errorf("of all formats, %v was chosen, want OpenMetrics", chosen)
		}
	}
}

func TestAPrometheusIsAsked(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/query" || r.FormValue("time") != "" {
			t.Errorf("asked for %s", r.URL)
		}
		if q := r.FormValue("query"); q != `a{pod=~"shop-.*"}` {
			http.Error(w, `{"status":"error","errorType":"bad_data","error":"1:3: parse error"}`, 400)
			return
		}
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[`+
			`{"metric":{"pod":"shop-1"},"value":[1,"11"]},{"metric":{"pod":"shop-0"},"value":[1,"10"]},{"metric":{"pod":"shop-2"},"value":[1,"NaN"]}]}}`)
	})
	var samples []string
	w := NewWatch(Options{
		Config: config(t, fmt.Sprintf(`
resources:
  - {name: pods, kind: memory, prometheus: %q, query: 'a{pod=~"shop-.*"}', member: pod}
  - {name: sum, kind: memory, prometheus: %q, query: 'a{pod=~"shop-.*"}'}
  - {name: bad, kind: memory, prometheus: %q, query: 'sum('}
`, address, address, address)),
		Sample: func(s load.Sample) { samples = append(samples, fmt.Sprint(s.Resource, " ", s.Member, " ", s.Last)) },
	})
	var wrong []string
	for _, err := range once(t, w) {
		wrong = append(wrong, fmt.Sprint(err))
	}
	want := []string{
		"<nil>",
		"resource sum: 3 series found where one is wanted: let the query give one, as sum does, or tell them apart with member: LABEL",
		"resource bad: prometheus says bad_data: 1:3: parse error",
	}
	if diff := cmp.Diff(want, wrong); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"pods shop-0 10", "pods shop-1 11"}, samples); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
}

// TestConnections holds which dialer goes where, and that pages are read on a
// connection that stays while the release is read on one of its own.
func TestConnections(t *testing.T) {
	handler := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"v":"v1","status":"error","error":"x"}`) }
	at, err := url.Parse(serve(t, handler))
	if err != nil {
		t.Fatal(err)
	}
	var own, outside atomic.Int32
	count := func(n *atomic.Int32) Dial {
		return func(ctx context.Context, network, address string) (net.Conn, error) {
			n.Add(1)
			_, port, err := net.SplitHostPort(address)
			if err != nil || port != at.Port() {
				return nil, fmt.Errorf("dial %s: %w", address, err)
			}
			return new(net.Dialer).DialContext(ctx, network, at.Host)
		}
	}
	w := NewWatch(Options{
		Config: configOf(t, "http://shop.invalid:"+at.Port(), fmt.Sprintf(`
release: {url: /version, json: v}
resources:
  - {name: a, kind: memory, scrape: /metrics, metric: a}
  - {name: b, kind: memory, prometheus: "http://prometheus.invalid:%s", query: a}
`, at.Port())),
		Dial: count(&own), DialOutside: count(&outside),
	})
	defer w.client.closeIdle()
	ask := func(r *read, n int) {
		for range n {
			_ = r.do(t.Context()) // what it makes of the answer is no matter here
		}
	}
	for i, c := range []struct {
		what         string
		own, outside int32
	}{{"three reads of the release", 3, 0}, {"three reads of a page", 4, 0}, {"three queries", 4, 1}} {
		ask(w.reads[i], 3)
		if own.Load() != c.own || outside.Load() != c.outside {
			t.Errorf("after %s: %d connections to the target and %d to others, want %d and %d", c.what, own.Load(), outside.Load(), c.own, c.outside)
		}
	}
}

func TestAnswersThatAreNotTaken(t *testing.T) {
	elsewhere := strings.Replace(serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect to another host was followed") }), "127.0.0.1", "localhost", 1)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, longestAnswer+1))
	_ = z.Close()
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/version", http.StatusFound)
		case "/version":
			fmt.Fprint(w, `{"v":"v1"}`)
		case "/away":
			http.Redirect(w, r, elsewhere, http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		case "/cut":
			w.Header().Set("Content-Length", "100")
		}
	})
	for _, c := range []struct{ path, want string }{
		{"/moved", ""},
		{"/away", "redirected to another host, localhost"},
		{"/round", "more than 5 redirects"},
		{"/bomb", "the answer is longer than 16 MiB"},
		{"/cut", "read the answer: unexpected EOF"},
	} {
		w := NewWatch(Options{Config: configOf(t, address, "release: {url: "+c.path+", json: v}")})
		err := once(t, w)[0]
		if got := fmt.Sprint(err); err != nil && got != c.want || err == nil && c.want != "" {
			t.Errorf("%s: error %q, want %q", c.path, got, c.want)
		}
	}
}

// TestASecretInAnAddressIsNotLogged asks a server that is gone.
func TestASecretInAnAddressIsNotLogged(t *testing.T) {
	d := &recording{zero: time.Now()}
	c := config(t, "release: {url: 'http://127.0.0.1:1/hunter2', json: v}")
	c.Release.URL.Hidden = true
	w := NewWatch(Options{Config: c, Log: logTo(d)})
	err := once(t, w)[0]
	w.reads[0].complaint.failed(unanswered, err, time.Now())
	if err == nil || len(d.lines) != 1 || strings.Contains(d.lines[0], "hunter2") || !strings.Contains(d.lines[0], "url=<secret>") {
		t.Errorf("error %v, logged %q", err, d.lines)
	}
}

func TestStopIsNoFailure(t *testing.T) {
	asked := make(chan struct{})
	address := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	w := NewWatch(Options{Config: configOf(t, address, "release: {url: /version, json: v}")})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.Run(ctx); close(ended) }()
	<-asked
	cancel()
	<-ended
	if want := []string{`release_changes_total[] 0`, `read_failures_total["release"] 0`}; !slices.Equal(collected(w), want) {
		t.Errorf("exposed %q, want %q", collected(w), want)
	}
}

// TestTheDemoShop watches the shop as `perfd demo` does.
func TestTheDemoShop(t *testing.T) {
	shop := demo.New(demo.Knobs{Release: "v1.0.0"}, 1)
	address := serve(t, shop.ServeHTTP)
	for _, release := range []string{
		"{url: /version, json: release}",
		"{url: /version, json: git_sha}",
	} {
		if err := shop.Set(demo.Knobs{Release: "v1.0.0"}); err != nil {
			t.Fatal(err)
		}
		var changes []Change
		samples := map[string]float64{}
		w := NewWatch(Options{
			Config: configOf(t, address, "release: "+release+`
resources:
  - {name: heap, kind: memory, scrape: /metrics, metric: go_gc_heap_live_bytes}
  - {name: goroutines, kind: goroutines, scrape: /metrics, metric: go_goroutines}
`),
			Changed: func(c Change) { changes = append(changes, c) },
			Sample:  func(s load.Sample) { samples[s.Resource] = s.Last },
		})
		if err := errors.Join(once(t, w)...); err != nil {
			t.Fatalf("%s: %v", release, err)
		}
		before := w.State()
		if err := shop.Set(demo.Knobs{Release: "v1.1.0"}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(once(t, w)...); err != nil {
			t.Fatalf("%s: %v", release, err)
		}
		after := w.State()
		if len(changes) != 1 || changes[0].Previous != before.Release || changes[0].Release != after.Release || before.Release == after.Release {
			t.Errorf("%s: changes %+v, state before %+v, after %+v", release, changes, before, after)
		}
		if samples["goroutines"] < 1 || samples["heap"] < 1 {
			t.Errorf("samples = %v, want some goroutines and some heap", samples)
		}
	}
}
