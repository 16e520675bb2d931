package remotewrite

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/record"
)

var both = cmp.AllowUnexported(sample{})

// counters makes n counters that are all changed by each call of the function.
func counters(n int) (*prometheus.Registry, func()) {
	r := prometheus.NewRegistry()
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "c_total", Help: "A counter."}, []string{"n"})
	r.MustRegister(c)
	turn := func() {
		for i := range n {
			c.WithLabelValues(fmt.Sprint(i)).Inc()
		}
	}
	return r, turn
}

func counterName(i int) string {
	return fmt.Sprintf(`{__name__="c_total", instance="a", job="perfd", n="%d"}`, i)
}

// want is what counter i has after n snapshots.
func want(from time.Time, n int) (all []sample) {
	for k := range n {
		all = append(all, sample{from.Add(time.Duration(k) * time.Second).UnixMilli(), fmt.Sprint(k + 1)})
	}
	return all
}

func TestEverySampleArrivesInBothProtocols(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"1.0", "2.0"} {
		t.Run(protocol, func(t *testing.T) {
			r := prometheus.NewRegistry()
			h := prometheus.NewHistogram(prometheus.HistogramOpts{
				Name: "h_seconds", Help: "A histogram.", Buckets: []float64{0.5, 1}, NativeHistogramBucketFactor: 1.1,
			})
			g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "g", Help: "A gauge."})
			s := prometheus.NewSummary(prometheus.SummaryOpts{Name: "s", Help: "A summary.", Objectives: map[float64]float64{0.5: 0.05}})
			r.MustRegister(h, g, s)
			h.Observe(0.25)
			h.Observe(0.75)
			h.Observe(3)
			s.Observe(2)
			g.Set(-1.5)
			to := newReceiver(t)
			w := newRig(t, t.TempDir(), r, endpointOf(t, to.URL, ", histograms: both, protocol: "+protocol))
			stop := w.startEndpoints()
			at := base()
			w.Snapshot(at)
			to.took(`{__name__="s_count", instance="a", job="perfd"}`, 1)
			w.crash(stop)
			got := map[string]string{}
			for name, samples := range to.got {
				if len(samples) != 1 || samples[0].at != at.UnixMilli() {
					t.Errorf("%s = %v, want one sample at %d", name, samples, at.UnixMilli())
				}
				got[strings.Replace(name, `, instance="a", job="perfd"`, "", 1)] = samples[0].text
			}
			if diff := cmp.Diff(map[string]string{
				`{__name__="g"}`:                           "-1.5",
				`{__name__="h_seconds"}`:                   "{count:3, sum:4, (0.22925101080116778,0.25]:1, (0.7071067811865475,0.7711054127039704]:1, (2.82842712474619,3.0844216508158815]:1}",
				`{__name__="h_seconds_bucket", le="0.5"}`:  "1",
				`{__name__="h_seconds_bucket", le="1.0"}`:  "2",
				`{__name__="h_seconds_bucket", le="+Inf"}`: "3",
				`{__name__="h_seconds_sum"}`:               "4",
				`{__name__="h_seconds_count"}`:             "3",
				`{__name__="s", quantile="0.5"}`:           "2",
				`{__name__="s_sum"}`:                       "2",
				`{__name__="s_count"}`:                     "1",
			}, reorder(got)); diff != "" {
				t.Errorf("series (-want +got):\n%s", diff)
			}
			if len(to.complain) > 0 {
				t.Errorf("the receiver complains: %v", to.complain)
			}
			wantHeader := map[string]string{
				"Content-Encoding": "snappy", "User-Agent": "perfd/test", "Content-Type": "application/x-protobuf",
				"X-Prometheus-Remote-Write-Version": "0.1.0", "Retry-Attempt": "",
			}
			if protocol == "2.0" {
				wantHeader["Content-Type"] = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
				wantHeader["X-Prometheus-Remote-Write-Version"] = "2.0.0"
			}
			for name, value := range wantHeader {
				if got := to.requests[0].Get(name); got != value {
					t.Errorf("header field %s = %q, want %q", name, got, value)
				}
			}
		})
	}
}

// reorder writes series of one label beside the name the way the test does.
func reorder(got map[string]string) map[string]string {
	out := map[string]string{}
	for name, v := range got {
		out[strings.Replace(name, `, instance="a", job="perfd", `, ", ", 1)] = v
	}
	return out
}

func TestAnOutageLosesNothingAndKeepsTheOrder(t *testing.T) {
	t.Parallel()
	r, turn := counters(300)
	to := newReceiver(t)
	var fails []int
	for range 60 {
		fails = append(fails, []int{500, 503, 429}[rand.N(3)])
	}
	to.answer = func(n int, _ *http.Request, _ map[string][]sample) (int, map[string]string, string) {
		if n < len(fails) {
			return fails[n], nil, "away"
		}
		return 0, nil, ""
	}
	w := newRig(t, t.TempDir(), r, endpointOf(t, to.URL, ", max_samples_per_send: 100"))
	stop := w.startEndpoints()
	from := base()
	w.snapshots(from, 40, turn)
	for i := range 300 {
		if diff := cmp.Diff(want(from, 40), to.took(counterName(i), 40), both); diff != "" {
			t.Fatalf("counter %d (-want +got):\n%s", i, diff)
		}
	}
	w.finished(from, 40)
	w.crash(stop)
	if got := slices.Max(to.sizes); got > 100 {
		t.Errorf("a request has %d samples, want at most 100", got)
	}
	if got := w.endpoints[0].stats.retried.Load(); got != 60*100 {
		t.Errorf("%d samples retried, want 6000", got)
	}
	if to.requests[1].Get("Retry-Attempt") != "1" {
		t.Errorf("Retry-Attempt of the second request = %q, want 1", to.requests[1].Get("Retry-Attempt"))
	}
}

// The receiver is slow at random, and its connections end at random, before
// and after it took what they brought.
func TestAnUnreliableReceiverGetsEverySeriesInOrder(t *testing.T) {
	t.Parallel()
	r, turn := counters(1000)
	to := newReceiver(t)
	to.answer = func(int, *http.Request, map[string][]sample) (int, map[string]string, string) {
		time.Sleep(rand.N(5 * time.Millisecond))
		return []int{0, 0, 0, gone, takenAndGone}[rand.N(5)], nil, ""
	}
	w := newRig(t, t.TempDir(), r, endpointOf(t, to.URL, ", max_samples_per_send: 300"))
	stop := w.startEndpoints()
	from := base()
	w.snapshots(from, 20, turn)
	w.finished(from, 20)
	w.crash(stop)
	for i := range 1000 {
		// What was taken without an answer comes again, with the same timestamp and value, before anything newer.
		if diff := cmp.Diff(want(from, 20), slices.Compact(to.got[counterName(i)]), both); diff != "" {
			t.Fatalf("counter %d (-want +got):\n%s", i, diff)
		}
	}
	if w.endpoints[0].stats.retried.Load() == 0 {
		t.Error("nothing was tried again")
	}
}

// Forty snapshots with timestamps 15 s apart are what an outage of ten minutes leaves.
func TestTenMinutesOfOutageAreDrained(t *testing.T) {
	t.Parallel()
	n := 2000
	if testing.Short() {
		n = 300
	}
	r, turn := counters(n)
	to := newReceiver(t)
	from := base()
	w := newRig(t, t.TempDir(), r, endpointOf(t, to.URL, ""))
	for k := range 40 {
		turn()
		w.Snapshot(from.Add(time.Duration(k) * 15 * time.Second))
	}
	began := time.Now()
	stop := w.startEndpoints()
	to.took(counterName(n-1), 40)
	t.Logf("40 snapshots of %d series drained in %v", n, time.Since(began).Round(time.Millisecond))
	w.crash(stop)
	for i := range n {
		got := to.got[counterName(i)]
		for k, s := range got {
			if s != (sample{from.Add(time.Duration(k) * 15 * time.Second).UnixMilli(), fmt.Sprint(k + 1)}) {
				t.Fatalf("counter %d: sample %d is %v", i, k, s)
			}
		}
		if len(got) != 40 {
			t.Fatalf("counter %d has %d samples, want 40", i, len(got))
		}
	}
}

func TestACrashLosesNothing(t *testing.T) {
	t.Parallel()
	r, turn := counters(50)
	to := newReceiver(t)
	to.answer = func(int, *http.Request, map[string][]sample) (int, map[string]string, string) {
		if rand.N(3) == 0 {
			return http.StatusServiceUnavailable, nil, ""
		}
		return 0, nil, ""
	}
	dir, from := t.TempDir(), base()
	k := 0
	for range 20 {
		w := newRig(t, dir, r, endpointOf(t, to.URL, ", max_samples_per_send: 7"))
		stop := w.startEndpoints()
		for range rand.N(5) {
			turn()
			w.Snapshot(from.Add(time.Duration(k) * time.Second))
			k++
		}
		time.Sleep(rand.N(3 * time.Millisecond))
		w.crash(stop) // in the middle of requests, too
	}
	w := newRig(t, dir, r, endpointOf(t, to.URL, ""))
	stop := w.startEndpoints()
	for i := range 50 {
		to.took(counterName(i), k)
	}
	w.crash(stop)
	for i := range 50 {
		// What was under way in a crash comes twice, with the same timestamp and value.
		if diff := cmp.Diff(want(from, k), slices.Compact(to.got[counterName(i)]), both); diff != "" {
			t.Fatalf("counter %d (-want +got):\n%s", i, diff)
		}
	}
}

// The request that was under way is made again with the same samples, whatever
// would be packed into it now.
func TestTheRequestUnderWayKeepsItsBounds(t *testing.T) {
	r, turn := counters(50)
	to := newReceiver(t)
	away := true
	to.answer = func(n int, _ *http.Request, _ map[string][]sample) (int, map[string]string, string) {
		if away && n >= 3 {
			return gone, nil, ""
		}
		return 0, nil, ""
	}
	dir := t.TempDir()
	w := newRig(t, dir, r, endpointOf(t, to.URL, ", name: x, max_samples_per_send: 7"))
	stop := w.startEndpoints()
	w.snapshots(base(), 1, turn)
	for to.counts() < 5 {
		time.Sleep(time.Millisecond)
	}
	w.crash(stop)
	to.mu.Lock()
	away = false
	before := len(to.sizes)
	to.mu.Unlock()

	w = newRig(t, dir, r, endpointOf(t, to.URL, ", name: x, max_samples_per_send: 20"))
	stop = w.startEndpoints()
	for i := range 50 {
		to.took(counterName(i), 1)
	}
	w.crash(stop)
	// Three requests of 7 were taken; the fourth is made again, and the rest packed anew.
	if diff := cmp.Diff([]int{7, 20, 2}, to.sizes[before:]); diff != "" {
		t.Errorf("samples in the requests after the crash (-want +got):\n%s", diff)
	}
	for i := range 50 {
		if n := len(to.got[counterName(i)]); n != 1 {
			t.Errorf("counter %d arrived %d times, want once", i, n)
		}
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	r, turn := counters(1)
	to := newReceiver(t)
	var at []time.Time
	to.answer = func(n int, _ *http.Request, _ map[string][]sample) (int, map[string]string, string) {
		at = append(at, time.Now())
		if n == 0 {
			return http.StatusTooManyRequests, map[string]string{"Retry-After": "1"}, ""
		}
		return 0, nil, ""
	}
	w := newRig(t, t.TempDir(), r, endpointOf(t, to.URL, "")) // whose own back-off ends at 20 ms
	stop := w.startEndpoints()
	from := base()
	w.snapshots(from, 1, turn)
	if diff := cmp.Diff(want(from, 1), to.took(counterName(0), 1), both); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
	w.crash(stop)
	if wait := at[1].Sub(at[0]); len(at) != 2 || wait < time.Second {
		t.Errorf("%d requests, the second after %v; want 2, a second apart", len(at), wait)
	}
}

func TestExpiredCredentialsHoldTheQueue(t *testing.T) {
	r, turn := counters(1)
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	to := newReceiver(t)
	to.answer = func(_ int, req *http.Request, _ map[string][]sample) (int, map[string]string, string) {
		if req.Header.Get("Authorization") != "Bearer new" {
			return http.StatusUnauthorized, nil, "token expired"
		}
		return 0, nil, ""
	}
	w := newRig(t, dir, r, endpointOf(t, to.URL, ", bearer_token_file: token"))
	stop := w.startEndpoints()
	from := base()
	w.snapshots(from, 5, turn)
	for to.counts() < 3 {
		time.Sleep(time.Millisecond)
	}
	s := w.endpoints[0].stats
	s.mu.Lock()
	why := s.why
	s.mu.Unlock()
	if why != "401" {
		t.Errorf("blocked for %q, want 401", why)
	}
	if err := os.WriteFile(token, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want(from, 5), to.took(counterName(0), 5), both); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
	w.finished(from, 5)
	w.crash(stop)
	if s.why != "" || s.failed.Load() != 0 {
		t.Errorf("blocked for %q with %d failed, want neither", s.why, s.failed.Load())
	}
	if !strings.Contains(w.log.String(), "token expired") {
		t.Errorf("the log does not have the receiver's words:\n%s", w.log)
	}
}

func TestOnePoisonSeriesCostsOnlyItself(t *testing.T) {
	r, turn := counters(500)
	to := newReceiver(t)
	poison := counterName(123)
	to.answer = func(_ int, _ *http.Request, series map[string][]sample) (int, map[string]string, string) {
		if series[poison] != nil {
			return http.StatusBadRequest, nil, "poison: out of bounds"
		}
		return 0, nil, ""
	}
	w := newRig(t, t.TempDir(), r, endpointOf(t, to.URL, ", protocol: 1.0"))
	stop := w.startEndpoints()
	from := base()
	w.snapshots(from, 3, turn)
	for i := range 500 {
		if i == 123 {
			continue
		}
		if diff := cmp.Diff(want(from, 3), to.took(counterName(i), 3), both); diff != "" {
			t.Fatalf("counter %d (-want +got):\n%s", i, diff)
		}
	}
	w.finished(from, 3)
	w.crash(stop)
	s := w.endpoints[0].stats
	if s.failed.Load() != 3 || s.dropped["rejected"] != 3 {
		t.Errorf("%d failed and %d rejected, want 3 and 3", s.failed.Load(), s.dropped["rejected"])
	}
	if n := to.counts(); n > 3*22 {
		t.Errorf("%d requests for three batches, want at most 22 each", n)
	}
	if n := strings.Count(w.log.String(), "poison: out of bounds"); n != 1 {
		t.Errorf("the receiver's words are logged %d times, want once:\n%s", n, w.log)
	}
	if !strings.Contains(w.log.String(), `c_total{instance=`) {
		t.Errorf("the log does not name the series:\n%s", w.log)
	}
}

func TestRefusalsOfTheSecondProtocolAreFinal(t *testing.T) {
	r, turn := counters(10)
	to := newReceiver(t)
	to.answer = func(n int, _ *http.Request, _ map[string][]sample) (int, map[string]string, string) {
		if n == 1 {
			return http.StatusBadRequest, map[string]string{"X-Prometheus-Remote-Write-Samples-Written": "8"}, "two are bad"
		}
		return 0, nil, ""
	}
	w := newRig(t, t.TempDir(), r, endpointOf(t, to.URL, ""))
	stop := w.startEndpoints()
	from := base()
	w.snapshots(from, 3, turn)
	w.finished(from, 3)
	w.crash(stop)
	s := w.endpoints[0].stats
	if to.counts() != 3 || s.failed.Load() != 2 || s.samples.Load() != 28 {
		t.Errorf("%d requests, %d failed, %d sent; want 3, 2, 28", to.counts(), s.failed.Load(), s.samples.Load())
	}
}

func TestTheProtocolFallsBack(t *testing.T) {
	for name, answer := range map[string]int{"415": 415, "silence": 0, "400": 400} {
		t.Run(name, func(t *testing.T) {
			r, turn := counters(3)
			to := newReceiver(t)
			to.v1Only = true
			to.answer = func(_ int, req *http.Request, _ map[string][]sample) (int, map[string]string, string) {
				if strings.Contains(req.Header.Get("Content-Type"), "v2") {
					return max(answer, 0) + 204*b2i(answer == 0), nil, ""
				}
				return 0, nil, ""
			}
			w := newRig(t, t.TempDir(), r, endpointOf(t, to.URL, ""))
			stop := w.startEndpoints()
			from := base()
			w.snapshots(from, 3, turn)
			if diff := cmp.Diff(want(from, 3), to.took(counterName(2), 3), both); diff != "" {
				t.Errorf("samples (-want +got):\n%s", diff)
			}
			w.finished(from, 3)
			w.crash(stop)
			if n := to.counts(); n != 4 {
				t.Errorf("%d requests, want one in 2.0 and three in 1.0", n)
			}
		})
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestSeriesEndWithStaleMarkers(t *testing.T) {
	r := prometheus.NewRegistry()
	c := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "g"}, []string{"n"})
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "h", Buckets: []float64{1}, NativeHistogramBucketFactor: 2}, []string{"n"})
	r.MustRegister(c, h)
	c.WithLabelValues("stays").Set(1)
	c.WithLabelValues("goes").Set(1)
	h.WithLabelValues("goes").Observe(1)
	to := newReceiver(t)
	dir, from := t.TempDir(), base()
	w := newRig(t, dir, r, endpointOf(t, to.URL, ", name: x"))
	stop := w.startEndpoints()
	w.Snapshot(from)
	c.DeleteLabelValues("goes")
	h.DeleteLabelValues("goes")
	w.Snapshot(from.Add(time.Second))
	goes := `{__name__="g", instance="a", job="perfd", n="goes"}`
	stays := `{__name__="g", instance="a", job="perfd", n="stays"}`
	ms := from.UnixMilli()
	stale := []sample{{ms, "1"}, {ms + 1000, "stale"}}
	if diff := cmp.Diff(stale, to.took(goes, 2), both); diff != "" {
		t.Errorf("a gauge that went (-want +got):\n%s", diff)
	}
	for _, name := range []string{
		`{__name__="h", instance="a", job="perfd", n="goes"}`, `{__name__="h_bucket", instance="a", job="perfd", le="+Inf", n="goes"}`,
		`{__name__="h_bucket", instance="a", job="perfd", le="1.0", n="goes"}`, `{__name__="h_sum", instance="a", job="perfd", n="goes"}`,
	} {
		if got := to.took(name, 2); got[1] != (sample{ms + 1000, "stale"}) {
			t.Errorf("%s = %v, want a stale marker at the end", name, got)
		}
	}
	w.finished(from, 2) // a crash before the answer is known would repeat the request
	w.crash(stop)

	// After a crash the first snapshot ends what did not come back.
	c.Reset()
	c.WithLabelValues("new").Set(1)
	w = newRig(t, dir, r, endpointOf(t, to.URL, ", name: x"))
	stop = w.startEndpoints()
	w.Snapshot(from.Add(5 * time.Second))
	if got := to.took(stays, 3); got[2] != (sample{ms + 5000, "stale"}) {
		t.Errorf("%s = %v, want a stale marker at the first new timestamp", stays, got)
	}
	w.crash(stop)
	if n := len(to.got[goes]); n != 2 {
		t.Errorf("%s has %d samples, want no second stale marker", goes, n)
	}
}

func TestSeriesThatComeBackBeginAnew(t *testing.T) {
	to := newReceiver(t)
	dir := t.TempDir()
	var starts []int64
	to.starts = func(name string, start int64) {
		if strings.Contains(name, "c_total") {
			starts = append(starts, start)
		}
	}
	for life := range 2 {
		time.Sleep(5 * time.Millisecond)
		r, turn := counters(1)
		turn()
		w := newRig(t, dir, r, endpointOf(t, to.URL, ", name: x"))
		stop := w.startEndpoints()
		at := time.Now().Add(time.Duration(life+1) * time.Minute).Truncate(time.Millisecond)
		w.Snapshot(at)
		to.took(counterName(0), life+1)
		w.finished(at, 1)
		w.crash(stop)
	}
	for _, s := range to.got[counterName(0)] {
		if s.text != "1" {
			t.Errorf("a series that came back has the sample %v, want no stale marker", s)
		}
	}
	if len(starts) != 2 || starts[0] == 0 || starts[1] <= starts[0] {
		t.Errorf("start timestamps = %v, want the second life's after the first's", starts)
	}
}

func TestAStopEndsAllSeries(t *testing.T) {
	r, turn := counters(2)
	to := newReceiver(t)
	dir := t.TempDir()
	w := newRig(t, dir, r, endpointOf(t, to.URL, ""))
	w.Start()
	turn()
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := to.got[counterName(1)]
	if len(got) != 2 || got[0].text != "1" || got[1] != (sample{got[0].at + 1, "stale"}) {
		t.Errorf("samples = %v, want the last value and a stale marker 1 ms later", got)
	}
	// A later start has nothing to end.
	w = newRig(t, dir, prometheus.NewRegistry(), endpointOf(t, to.URL, ""))
	if n := len(w.encoder.series); n != 0 {
		t.Errorf("a clean stop leaves %d series to be ended", n)
	}
	w.close()
}

func TestSnapshotsWaitWhileTheClockIsBack(t *testing.T) {
	r, turn := counters(1)
	w := newRig(t, t.TempDir(), r)
	from := base()
	for _, at := range []int{10, 8, 10, 11} {
		turn()
		w.Snapshot(from.Add(time.Duration(at) * time.Second))
	}
	if taken, skipped := w.totals.snapshots.Load(), w.totals.skipped[skipClock].Load(); taken != 2 || skipped != 2 {
		t.Errorf("%d snapshots taken and %d skipped, want 2 and 2", taken, skipped)
	}
	w.close()
}

func TestSnapshotsAreAlignedToTheClock(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r, turn := counters(1)
		turn()
		time.Sleep(7 * time.Second)
		w := newRig(t, dir, r)
		w.Start()
		time.Sleep(61 * time.Second)
		if got := w.totals.snapshots.Load(); got != 4 {
			t.Errorf("%d snapshots in 61 s, want 4", got)
		}
		if last := w.totals.last.Load(); last%15000 != 0 {
			t.Errorf("the last timestamp is %d ms, want a multiple of 15 s", last)
		}
		if err := w.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "3": 3 * time.Second, "-1": 0, "99999": 5 * time.Minute, "x": 0,
		"Mon, 23 Nov 2026 12:00:10 GMT": 10 * time.Second, "Mon, 23 Nov 2026 11:00:00 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("retryAfter(%q) = %v, want %v", text, got, want)
		}
	}
}

func FuzzSnapshot(f *testing.F) {
	r, turn := counters(3)
	turn()
	families, err := r.Gather()
	if err != nil {
		f.Fatal(err)
	}
	e := newEncoder()
	e.begin(1000)
	e.add(families)
	f.Add(e.appendTo(nil, true))
	f.Fuzz(func(t *testing.T, payload []byte) {
		at, entries, _, err := newTable().read(snapshotRecord, payload)
		if err != nil {
			return
		}
		s := shape{classic: true, native: true, exemplars: true}
		var items []item
		for i := range entries {
			items = s.items(items, &entries[i], at)
		}
		b := newBody()
		if _, err := b.encode1(items); err != nil {
			t.Error(err)
		}
		if _, err := b.encode2(items); err != nil {
			t.Error(err)
		}
	})
}

// Metrics of a scenario's own, with their labels and native histograms, arrive as the recorder has them.
func TestMetricsOfAScenariosOwnArrive(t *testing.T) {
	t.Parallel()
	own := func(name string, m *load.Metric) record.Series {
		return record.Series{Step: name, Target: "t", Protocol: load.GroupProtocol, Group: true, Metric: m}
	}
	for _, protocol := range []string{"1.0", "2.0"} {
		t.Run(protocol, func(t *testing.T) {
			recorder := record.New(record.Options{})
			plans := []load.MetricLabel{{Name: "plan", Values: []string{"free", "pro"}, AtMost: 2}}
			sink, err := recorder.Open(record.Scenario{Name: "s", Steps: []record.Series{
				own("orders", &load.Metric{Type: load.MetricCounter, Labels: plans}),
				own("logins", &load.Metric{Type: load.MetricRate}),
				own("stock", &load.Metric{Type: load.MetricGauge, Labels: []load.MetricLabel{{Name: "city", AtMost: 1}}}),
				own("size", &load.Metric{Type: load.MetricTrend, Unit: "items", Help: "Items.", Buckets: []float64{2, 8}}),
				own("took", &load.Metric{Type: load.MetricTrend, Unit: load.UnitSeconds, Buckets: []float64{0.5}}),
			}})
			if err != nil {
				t.Fatal(err)
			}
			sink.Add(0, 0, []byte("pro"), 3)
			sink.Add(0, 0, []byte("gold"), 3)
			sink.Add(0, 1, nil, 1)
			sink.Add(0, 1, nil, 0)
			sink.Add(0, 2, []byte("Rome"), -7)
			sink.Add(0, 3, nil, 3)
			sink.Add(0, 4, nil, 0.31)
			to := newReceiver(t)
			w := newRigOf(t, t.TempDir(), recorder, endpointOf(t, to.URL, ", histograms: both, protocol: "+protocol))
			stop := w.startEndpoints()
			w.Snapshot(base())
			to.took(`{__name__="perfd_custom_value", city="Rome", instance="a", job="perfd", metric="stock", scenario="s"}`, 1)
			w.crash(stop)
			got := map[string]string{}
			for name, samples := range to.got {
				if name, own := strings.CutPrefix(name, `{__name__="perfd_custom_`); own {
					got[strings.NewReplacer(`, instance="a", job="perfd"`, "", `, scenario="s"}`, "", `"`, "").Replace(name)] = samples[0].text
				}
			}
			want := map[string]string{
				"total, metric=orders, plan=free":                                     "0",
				"total, metric=orders, plan=pro":                                      "3",
				"values_left_out_total, metric=orders":                                "1",
				"values_left_out_total, metric=stock":                                 "0",
				"events_total, metric=logins":                                         "2",
				"events_missed_total, metric=logins":                                  "1",
				"value, city=Rome, metric=stock":                                      "-7",
				"amount_bucket, le=2.0, metric=size":                                  "0",
				"amount_bucket, le=8.0, metric=size":                                  "1",
				"amount_bucket, le=+Inf, metric=size":                                 "1",
				"amount_count, metric=size":                                           "1",
				"amount_sum, metric=size":                                             "3",
				"amount, metric=size":                                                 "{count:1, sum:3, (2.82842712474619,3.0844216508158815]:1}",
				"duration_seconds_bucket, le=0.5, metric=took":                        "1",
				"duration_seconds_bucket, le=+Inf, metric=took":                       "1",
				"duration_seconds_count, metric=took":                                 "1",
				"duration_seconds_sum, metric=took":                                   "0.31",
				"duration_seconds, metric=took":                                       "{count:1, sum:0.31, (0.29730177875068026,0.3242098886627524]:1}",
				"info, help=Items., metric=size, scenario=s, type=trend, unit=items}": "1",
			}
			for name := range got {
				if strings.HasPrefix(name, "info") && want[name] == "" {
					delete(got, name)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("series (-want +got):\n%s", diff)
			}
			if len(to.complain) > 0 {
				t.Errorf("the receiver complains: %v", to.complain)
			}
			sink.Close()
		})
	}
}
