package twin

import (
	"flag"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/analysis/analysistest"
	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

var twinDays = flag.Float64("twin.days", 0.25, "for how many days queues of twins are simulated")

// A queued is a scenario whose two targets are queues with workers: the same arrivals and rows go to both, and
// latencies are what waiting and service come to. Nothing in it is a level with noise, as in env: a day's course and busy
// neighbours slow the service of both sides down, and each side has collections and neighbours of its own.
type queued struct {
	r       *rand.Rand
	rate    float64 // requests a second at the mean of a day
	service float64 // seconds
	shape   int     // of the gamma distribution of a service
	workers [2][]float64
	pause   [2]float64 // when the next collection begins, s
	collect float64    // mean time between collections, s
	slow    [2]float64 // until when a neighbour of a side's own slows it down, s
	storm   float64    // until when a common neighbour does, s
	by      float64
	factor  [2]float64
	now     float64
}

func newQueued(seed uint64) *queued {
	r := rand.New(rand.NewPCG(analysistest.Seed()+seed, 4711))
	q := &queued{r: r, rate: 6 + 20*r.Float64(), shape: 2 + r.IntN(6), collect: 30 + 200*r.Float64(), factor: [2]float64{1, 1}}
	n := 2 + r.IntN(4)
	q.workers = [2][]float64{make([]float64, n), make([]float64, n)}
	q.service = float64(n) / q.rate * (0.1 + 0.3*r.Float64())
	return q
}

// next feeds the windows of both sides.
func (q *queued) next(a *Analysis) {
	const length = 10.0
	begin := q.now
	q.now += length
	day := math.Sin(2 * math.Pi * begin / 86400)
	if begin > q.storm && q.r.Float64() < length/1800 {
		q.storm, q.by = begin+q.r.ExpFloat64()*120, 1+0.6*q.r.Float64()
	}
	common := 1 + 0.1*day
	if begin < q.storm {
		common *= q.by
	}
	var level [2]float64
	for side := range 2 {
		level[side] = q.service * common * q.factor[side]
		if begin > q.slow[side] && q.r.Float64() < length/3600 {
			q.slow[side] = begin + q.r.ExpFloat64()*180
		}
		if begin < q.slow[side] {
			level[side] *= 1.02
		}
	}
	var w [2]*load.Window
	for side, name := range []string{"shop", analysis.BaselineName("shop", "stable")} {
		start := analysistest.Zero.Add(time.Duration(begin * 1e9))
		w[side] = &load.Window{
			Scenario: name, Start: start, End: start.Add(length * time.Second), Duration: new(hist.Histogram), ResponseTime: new(hist.Histogram),
			Circumstances: load.Circumstances{Run: "r1", Release: "v1"}, Iterations: &load.Iterations{},
		}
	}
	for at := begin; ; {
		at += q.r.ExpFloat64() / (q.rate * (1 + 0.5*day))
		if at >= q.now {
			break
		}
		row := math.Exp(0.4 * q.r.NormFloat64())
		for side := range 2 {
			work := 0.0
			for range q.shape {
				work += q.r.ExpFloat64()
			}
			work *= level[side] * row / float64(q.shape)
			workers := q.workers[side]
			for at > q.pause[side] { // all workers rest during a collection
				for i := range workers {
					workers[i] = max(workers[i], q.pause[side]) + 0.01 + 0.05*q.r.Float64()
				}
				q.pause[side] += q.collect * (0.5 + q.r.Float64())
			}
			free := 0
			for i := range workers {
				if workers[i] < workers[free] {
					free = i
				}
			}
			workers[free] = max(workers[free], at) + work
			w[side].Requests++
			w[side].Duration.Record(int64((workers[free] - at) * 1e9))
		}
	}
	a.Window(w[own])
	a.Baseline(w[baseline])
}

func (q *queued) state(a *Analysis) (state, load.Finding) {
	f := a.Judge(analysistest.Zero.Add(time.Duration(q.now * 1e9)))[0]
	return a.scenarios[0].state, f
}

// TestQueues judges twins that nothing was tuned on.
func TestQueues(t *testing.T) {
	t.Parallel()
	twins, days := seeds(), *twinDays
	if testing.Short() {
		days = min(days, 0.05)
	}
	calls, other, slower, slowest := 0, 0, 0, 0.0
	for seed := range twins {
		q, a := newQueued(seed), newAnalysis()
		was := unknown
		for q.now < days*86400 {
			q.next(a)
			is, f := q.state(a)
			if is != was && (is == release || is == noise) {
				t.Logf("equal, seed %d, after %.0f s (rate %.1f, %d workers, service %.0f ms): %s", seed, q.now, q.rate, len(q.workers[0]), 1e3*q.service, f.Sentence)
				if is == release {
					calls++
				} else {
					other++
				}
			}
			was = is
		}
		q.factor[own] = 1.15
		begin := q.now
		for q.now-begin < 3600 {
			q.next(a)
			if is, _ := q.state(a); is == release {
				slower++
				slowest = max(slowest, q.now-begin)
				break
			}
		}
	}
	t.Logf("%d equal twins over %v days: %d calls of the release, %d of the baseline; %d of %d whose service takes 15 %% longer called within an hour, the last after %.0f s", twins, days, calls, other, slower, twins, slowest)
	if calls+other > 0 || uint64(slower) < twins {
		t.Errorf("%d calls of equal twins, %d of %d slower ones", calls+other, slower, twins)
	}
}
