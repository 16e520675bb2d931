package remotewrite

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// A scraper turns the sender into one that suites for scraping senders can
// drive: each snapshot is a scrape of a target.
type scraper struct{ url string }

func (s scraper) Gather() ([]*dto.MetricFamily, error) {
	res, err := http.Get(s.url)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	byName, err := parser.TextToMetricFamilies(res.Body)
	if err != nil {
		return nil, err
	}
	var all []*dto.MetricFamily
	for _, f := range byName {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int {
		if a.GetName() < b.GetName() {
			return -1
		}
		return 1
	})
	return all, nil
}

func TestAScrapedTargetPassesThroughTheSender(t *testing.T) {
	n := 0
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		fmt.Fprintf(w, "# TYPE test_total counter\ntest_total{path=\"a b\",Upper=\"x\",empty=\"\"} %d\n# TYPE g gauge\ng -0.5\n", n)
		fmt.Fprintf(w, "# TYPE h histogram\nh_bucket{le=\"1\"} %d\nh_bucket{le=\"+Inf\"} %d\nh_sum %d\nh_count %d\n", n, 2*n, 3*n, 2*n)
		if n < 3 {
			fmt.Fprintln(w, "goes 1")
		}
	}))
	defer target.Close()
	to := newReceiver(t)
	log := newRig(t, t.TempDir(), prometheus.NewRegistry(), endpointOf(t, to.URL, ""))
	log.o.Daemon = scraper{target.URL}
	stop := log.startEndpoints()
	from := base()
	for k := range 3 {
		log.Snapshot(from.Add(time.Duration(k) * time.Second))
	}
	to.took(`{__name__="g", instance="a", job="perfd"}`, 3)
	log.crash(stop)
	http.DefaultClient.CloseIdleConnections()
	at := func(k int) int64 { return from.Add(time.Duration(k) * time.Second).UnixMilli() }
	for series, want := range map[string][]sample{
		`{Upper="x", __name__="test_total", instance="a", job="perfd", path="a b"}`: {{at(0), "1"}, {at(1), "2"}, {at(2), "3"}},
		`{__name__="h_bucket", instance="a", job="perfd", le="1.0"}`:                {{at(0), "1"}, {at(1), "2"}, {at(2), "3"}},
		`{__name__="h_bucket", instance="a", job="perfd", le="+Inf"}`:               {{at(0), "2"}, {at(1), "4"}, {at(2), "6"}},
		`{__name__="goes", instance="a", job="perfd"}`:                              {{at(0), "1"}, {at(1), "1"}, {at(2), "stale"}},
	} {
		if diff := cmp.Diff(want, to.got[series], both); diff != "" {
			t.Errorf("%s (-want +got):\n%s", series, diff)
		}
	}
	if len(to.complain) > 0 {
		t.Errorf("the receiver complains: %v", to.complain)
	}
}

func TestExemplarsAreSentOnce(t *testing.T) {
	for _, protocol := range []string{"1.0", "2.0"} {
		t.Run(protocol, func(t *testing.T) {
			r := prometheus.NewRegistry()
			h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", Buckets: []float64{1}, NativeHistogramBucketFactor: 1.1})
			r.MustRegister(h)
			observe := func(v float64, trace string) {
				h.(prometheus.ExemplarObserver).ObserveWithExemplar(v, prometheus.Labels{"trace_id": trace})
				time.Sleep(2 * time.Millisecond)
			}
			to := newReceiver(t)
			w := newRig(t, t.TempDir(), r, endpointOf(t, to.URL, ", histograms: both, protocol: "+protocol))
			stop := w.startEndpoints()
			from := base()
			observe(0.5, "a")
			w.Snapshot(from)
			w.Snapshot(from.Add(time.Second))
			observe(0.5, "b")
			observe(5, "c")
			w.Snapshot(from.Add(2 * time.Second))
			to.took(`{__name__="h_count", instance="a", job="perfd"}`, 3)
			w.crash(stop)
			if diff := cmp.Diff(map[string][]string{
				`{__name__="h", instance="a", job="perfd"}`:                   {"a 0.5", "b 0.5", "c 5"},
				`{__name__="h_bucket", instance="a", job="perfd", le="1.0"}`:  {"a 0.5", "b 0.5"},
				`{__name__="h_bucket", instance="a", job="perfd", le="+Inf"}`: {"c 5"},
			}, to.exemplars); diff != "" {
				t.Errorf("exemplars by series (-want +got):\n%s", diff)
			}
		})
	}
}
