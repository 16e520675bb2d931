package app

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/judge"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/web"
)

// A stopwatch is a step that takes no time and notes when its requests are made. As a
// Prometheus it has a level that rises and falls within five minutes.
type stopwatch struct {
	heap
	mu   sync.Mutex
	made []time.Time
}

func (s *stopwatch) Do(c *protocol.Call) {
	c.Result.Sent = int64(c.VU.Env.Now())
	s.mu.Lock()
	s.made = append(s.made, time.Now())
	s.mu.Unlock()
	c.Result.Done, c.Result.Code = int64(c.VU.Env.Now()), 200
}

func (s *stopwatch) RoundTrip(r *http.Request) (*http.Response, error) {
	number := func(name string) int {
		n, _ := strconv.Atoi(r.URL.Query().Get(name))
		return n
	}
	var values []string
	for at := number("start"); at <= number("end"); at += max(1, number("step")) {
		values = append(values, fmt.Sprintf(`[%d,"%v"]`, at, 10+5*math.Sin(2*math.Pi*float64(at)/300)))
	}
	w := httptest.NewRecorder()
	fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"values":[%s]}]}}`, strings.Join(values, ","))
	return w.Result(), nil
}

// between lists the requests from one time to another since an instant, as times since it.
func (s *stopwatch) between(zero time.Time, from, to time.Duration) (all []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.made {
		if d := at.Sub(zero); d >= from && d < to {
			all = append(all, d)
		}
	}
	slices.Sort(all)
	return all
}

const killedConfig = `
targets: [{name: shop, url: "http://127.0.0.1:9798"}]
scenarios:
  - name: browse
    test: %s
    target: shop
    schedule: {every: 1h%s}
    workload: {executor: %s}
    flow: [{name: get, call: {path: /}}%s]
`

// A run that is killed in its middle goes on where the clock says: with the arrivals, or the number of virtual users,
// that it would have had. One that counts iterations, and one that must not be joined, ends interrupted.
func TestKilledInTheMiddleOfEachExecutorAndShape(t *testing.T) {
	t.Parallel()
	const open, closed = "ramping-arrival-rate, max_vus: 100, ", "ramping-vus, start_vus: 2, "
	traffic := filepath.Join(t.TempDir(), "traffic.csv")
	if err := os.WriteFile(traffic, []byte("0,5\n60,10\n120,\n180,7\n240,3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stages := "stages: [{duration: 2m, target: %[1]s}, {duration: 3m, target: %[2]s}]"
	shapes := map[string]string{ // of 5 minutes each; the levels are written for either executor
		"stages":        stages,
		"ramp_and_hold": "ramp_and_hold: {target: %[1]s, ramp: 2m, hold: 2m, ramp_down: 1m}",
		"stairs":        "stairs: {from: %[2]s, step: %[2]s, levels: 5, hold: 50s, climb: 12500ms}",
		"spike":         "spike: {base: %[2]s, peak: %[1]s, before: 1m, surge: 1m, hold: 1m, drop: 1m, recover: 1m}",
		"sine":          "sine: {low: %[2]s, high: %[1]s, period: 70s}",
		"randomized":    "randomized: {low: %[2]s, high: %[1]s, hold: 20s, climb: 5s}",
		"replay":        "replay: {file: " + traffic + ", missing: interpolate}",
	}
	type row struct{ name, test, length, executor string }
	rows := []row{
		{"constant-arrival-rate", "load", "5m", "constant-arrival-rate, rate: 7/s, max_vus: 10"},
		{"poisson arrivals", "load", "5m", "constant-arrival-rate, rate: 7/s, arrivals: poisson, max_vus: 10"},
		{"constant-vus", "load", "5m", "constant-vus, vus: 7"},
		{"shared-iterations", "load", "", "shared-iterations, vus: 5, iterations: 1200"},
		{"per-vu-iterations", "load", "", "per-vu-iterations, vus: 5, iterations: 240"},
		{"externally-controlled", "load", "5m", "externally-controlled, rate: 3/s, max_rate: 50/s, max_vus: 10"},
		{"externally-controlled poisson arrivals", "load", "5m", "externally-controlled, rate: 3/s, max_rate: 50/s, arrivals: poisson, max_vus: 10"},
		{"externally-controlled VUs", "load", "5m", "externally-controlled, vus: 2, max_vus: 50"},
		{"a spike test", "spike", "5m", open + fmt.Sprintf(shapes["spike"], "20/s", "2/s")},
		{"replay of a query", "load", "5m", open + "replay: {prometheus: 'http://127.0.0.1:9090', query: q, step: 5s, max: 50/s}"},
		{"replay of a query by VUs", "load", "5m", closed + "replay: {prometheus: 'http://127.0.0.1:9090', query: q, step: 5s, max: 50}"},
	}
	for _, s := range builtin.Kinds().Shapes {
		shape := shapes[s.Name]
		if shape == "" {
			t.Errorf("the shape %s is not tried", s.Name)
		}
		if s.Name != "replay" {
			rows = append(rows, row{s.Name, "load", "5m", open + fmt.Sprintf(shape, "20/s", "2/s")}, row{s.Name + " of VUs", "load", "5m", closed + fmt.Sprintf(shape, "20", "2")})
			continue
		}
		rows = append(rows, row{s.Name, "load", "5m", open + shape}, row{s.Name + " of VUs", "load", "5m", closed + shape})
	}
	for _, e := range builtin.Kinds().Executors {
		if !slices.ContainsFunc(rows, func(r row) bool { return strings.HasPrefix(r.executor, e.Name) }) {
			t.Errorf("the executor %s is not tried", e.Name)
		}
	}
	const killed, down, whole = 100 * time.Second, 20 * time.Second, 5 * time.Minute
	for i, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if brief() && i%5 > 0 {
				t.Skip("one in five of the rows")
			}
			isOpen := strings.Contains(r.executor, "max_vus") && !strings.Contains(r.executor, " vus:")
			length, think := "", ""
			if r.length != "" {
				length = ", duration: " + r.length
			}
			if !isOpen {
				think = ", {think: 1s}"
			}
			config := fmt.Sprintf(killedConfig, r.test, length, r.executor, think)
			var zero time.Time
			// play performs a run, which may be killed, and returns its requests and how it ended.
			play := func(kill bool) (step *stopwatch, results []string) {
				synctest.Test(t, func(t *testing.T) {
					step = &stopwatch{}
					zero = time.Now().Add(time.Hour)
					dir := t.TempDir()
					var mu sync.Mutex
					judged := func(run judge.Run, _ load.Finding) {
						mu.Lock()
						defer mu.Unlock()
						results = append(results, run.Result)
					}
					time.Sleep(time.Until(zero.Add(-10 * time.Second)))
					a := inBubble(t, config, step, filepath.Join(dir, "first"), judged)
					if strings.HasPrefix(r.executor, "externally") {
						time.Sleep(time.Until(zero.Add(killed / 3)))
						seven := web.Level{Rate: "7/s"}
						if !isOpen {
							seven = web.Level{VUs: new(7)}
						}
						if _, err := (daemon{a}).Scale("browse", seven, "test"); err != nil {
							t.Error(err)
						}
					}
					if kill {
						time.Sleep(time.Until(zero.Add(killed)))
						synctest.Wait()
						if err := os.CopyFS(filepath.Join(dir, "killed"), os.DirFS(filepath.Join(dir, "first"))); err != nil {
							t.Fatal(err)
						}
						if err := a.Stop(); err != nil { // what it says and does from here on is not kept
							t.Error(err)
						}
						mu.Lock()
						results = nil
						mu.Unlock()
						time.Sleep(time.Until(zero.Add(killed + down)))
						a = inBubble(t, config, step, filepath.Join(dir, "killed"), judged)
					}
					time.Sleep(time.Until(zero.Add(whole + time.Minute)))
					if err := a.Stop(); err != nil {
						t.Error(err)
					}
				})
				return step, results
			}
			want, _ := play(false)
			got, results := play(true)
			// What comes before is the same; a closed workload begins its iterations anew.
			if before := got.between(zero, 0, killed); isOpen && !slices.Equal(before, want.between(zero, 0, killed)) || len(before) == 0 {
				t.Errorf("%d requests before it is killed, other times than those of %d", len(before), len(want.between(zero, 0, killed)))
			}
			after, planned := got.between(zero, killed+down+time.Second, whole), want.between(zero, killed+down+time.Second, whole)
			if r.length == "" || r.test == "spike" {
				if len(after) > 0 || !slices.Equal(results, []string{"interrupted"}) {
					t.Errorf("%d requests after the restart, runs that ended %q; want none and interrupted", len(after), results)
				}
				return
			}
			if slices.Contains(results, "interrupted") {
				t.Errorf("runs ended %q", results)
			}
			if isOpen {
				if !slices.Equal(after, planned) || len(planned) == 0 {
					t.Errorf("%d requests after the restart, other times than those of %d", len(after), len(planned))
				}
				return
			}
			for from := killed + down + 2*time.Second; from+10*time.Second <= whole; from += 10 * time.Second {
				got, want := float64(len(got.between(zero, from, from+10*time.Second))), float64(len(want.between(zero, from, from+10*time.Second)))
				if math.Abs(got-want) > 2+0.1*want {
					t.Errorf("%v requests from %v on, want %v", got, from, want)
				}
			}
		})
	}
}
