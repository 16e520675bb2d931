package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// A receiver is a Prometheus that accepts remote writes and can be killed and restarted.
type receiver struct {
	*prometheus
	t      *testing.T
	dir    string
	listen string
	p      *proc.Process
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	r := &receiver{prometheus: &prometheus{URL: "http://" + address}, t: t, dir: t.TempDir(), listen: address}
	if err := os.WriteFile(filepath.Join(r.dir, "prometheus.yml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.kill)
	return r
}

func (r *receiver) start() {
	r.t.Helper()
	p, err := proc.Start(proc.Spec{Path: pinned(r.t, "prometheus"), Args: []string{
		"--config.file=" + filepath.Join(r.dir, "prometheus.yml"), "--storage.tsdb.path=" + filepath.Join(r.dir, "tsdb"),
		"--web.listen-address=" + r.listen, "--web.enable-remote-write-receiver", "--enable-feature=exemplar-storage",
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.p = p
}

func (r *receiver) kill() {
	if r.p != nil {
		r.p.Kill()
		r.p = nil
	}
}

// pushing is steady load whose metrics are pushed each second.
func pushing(target, to, more string) string {
	return steady(target, 50) + fmt.Sprintf(`
remote_write:
  - {url: %q, identity: {job: perfd, instance: test}, max_backoff: 200ms%s}
remote_write_queue: {interval: 1s}
`, to+"/api/v1/write", more)
}

// samples returns the raw samples of a series of the last minutes, by timestamp in ms.
func (p *prometheus) samples(ctx context.Context, selector string) (map[int64]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/api/v1/query?query="+url.QueryEscape(selector+"[30m]"), http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct{ Values [][2]any }
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("query %s: %w in %s", selector, err, text)
	}
	all := map[int64]string{}
	for _, r := range answer.Data.Result {
		for _, v := range r.Values {
			seconds, _ := v[0].(float64)
			all[int64(seconds*1000+0.5)], _ = v[1].(string)
		}
	}
	return all, nil
}

// Everything that a scrape shows when the load has ended is in a real
// Prometheus with the same values, by both protocols.
func TestRemoteWriteArrivesWhole(t *testing.T) {
	for _, protocol := range []string{"1.0", "2.0"} {
		t.Run(protocol, func(t *testing.T) {
			r := newReceiver(t)
			r.start()
			g := newTarget(t, slowly, nil)
			d := start(t, pushing(g.URL, r.URL, ", histograms: both, protocol: "+protocol))
			until(t, d, time.Minute, atLeast(200, "perfd_requests_total"))
			post(t, d, "/api/v1/scenarios/steady/stop")
			resting(t, d)
			m := until(t, d, time.Minute, atLeast(float64(len(g.at("/get"))), "perfd_requests_total"))

			series, native := 0, 0
			for name, f := range m {
				if !strings.HasPrefix(name, "perfd_re") || strings.HasPrefix(name, "perfd_remote") {
					continue // what changes while nothing runs
				}
				for _, s := range f.Metric {
					selector := "{job=\"perfd\",instance=\"test\""
					for _, l := range s.Label {
						selector += fmt.Sprintf(",%s=%q", l.GetName(), l.GetValue())
					}
					switch f.GetType() {
					case dto.MetricType_COUNTER:
						series++
						r.until(t, name+selector+"}", s.Counter.GetValue())
					case dto.MetricType_HISTOGRAM:
						native++
						count := float64(s.Histogram.GetSampleCount())
						r.until(t, name+"_count"+selector+"}", count)
						r.until(t, name+"_sum"+selector+"}", s.Histogram.GetSampleSum())
						r.until(t, "histogram_count("+name+selector+"})", count)
						r.until(t, "histogram_sum("+name+selector+"})", s.Histogram.GetSampleSum())
						for _, b := range s.Histogram.Bucket {
							series++
							le := fmt.Sprint(b.GetUpperBound())
							if !strings.ContainsAny(le, ".e") {
								le += ".0"
							}
							r.until(t, fmt.Sprintf("%s_bucket%s,le=%q}", name, selector, le), float64(b.GetCumulativeCount()))
						}
					default:
					}
				}
			}
			if series < 40 || native < 3 {
				t.Errorf("compared %d series and %d native histograms, that cannot be all", series, native)
			}
			if got := scrape(t, d).Value("perfd_remote_write_samples_dropped_total"); got != 0 {
				t.Errorf("%v samples dropped, want none", got)
			}
			stop(t, d)
			// A clean stop ends the series: an instant query finds none of them.
			_, err := r.query(within(t, 10*time.Second), "perfd_build_info")
			if err == nil || !strings.Contains(err.Error(), `"result":[]`) {
				t.Errorf("after a clean stop perfd_build_info is still there: %v", err)
			}
		})
	}
}

// perfd is killed 50 times, and its receiver too, at random moments: every
// snapshot that the queue took arrives.
func TestKillsLoseNoSample(t *testing.T) {
	const kills = 50
	r := newReceiver(t)
	g := newTarget(t, nil, nil)
	dir := t.TempDir()
	config := pushing(g.URL, r.URL, "")
	taken := map[int64]bool{}
	began := time.Now()
	for n := range kills {
		switch n % 4 { // up for two rounds, down for two
		case 0:
			r.start()
		case 2:
			r.kill()
		}
		d, err := daemon.Start(within(t, time.Minute), daemon.Options{Binary: perfd, Dir: dir, Config: config})
		if err != nil {
			t.Fatal(err)
		}
		watch(t, d)
		until(t, d, 20*time.Second, atLeast(1, "perfd_remote_write_snapshots_total"))
		time.Sleep(rand.N(1200 * time.Millisecond))
		m := scrape(t, d)
		d.Kill()
		last := int64(m.Value("perfd_remote_write_highest_timestamp_seconds")*1000 + 0.5)
		skipped := m.Value("perfd_remote_write_snapshots_skipped_total")
		if skipped > 0 {
			t.Errorf("round %d: %v snapshots skipped", n, skipped)
		}
		for k := range int64(m.Value("perfd_remote_write_snapshots_total")) {
			if at := last - 1000*k; n > 0 || k == 0 {
				taken[at] = true
			}
		}
	}
	r.kill()
	r.start()
	d := startWith(t, daemon.Options{Dir: dir})
	drained := time.Now()
	m := until(t, d, time.Minute, func(m daemon.Metrics) string {
		behind := m.Value("perfd_remote_write_highest_timestamp_seconds") - m.Value("perfd_remote_write_highest_sent_timestamp_seconds")
		if m.Value("perfd_remote_write_samples_total") == 0 || behind > 1 {
			return fmt.Sprintf("the queue is %v s behind", behind)
		}
		return ""
	})
	t.Logf("%d kills in %v, %d snapshots to be found, drained in %v", kills, time.Since(began).Round(time.Second), len(taken), time.Since(drained).Round(time.Millisecond))
	for _, selector := range []string{`perfd_build_info{job="perfd"}`, `perfd_requests_total{step="get"}`, `perfd_response_time_seconds_bucket{le="0.005"}`} {
		got, err := r.samples(within(t, 10*time.Second), selector)
		if err != nil {
			t.Fatal(err)
		}
		var lost []int64
		for at := range taken {
			if _, ok := got[at]; !ok {
				lost = append(lost, at)
			}
		}
		if len(lost) > 0 {
			slices.Sort(lost)
			t.Errorf("%s: %d of %d samples that the queue took are lost: %v", selector, len(lost), len(taken), lost)
		}
	}
	for _, name := range []string{"perfd_remote_write_samples_dropped_total", "perfd_remote_write_queue_damaged_bytes_total"} {
		if got := m.Value(name); got != 0 {
			t.Errorf("%s = %v after the last start, want 0", name, got)
		}
	}
}
