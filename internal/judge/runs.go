package judge

import (
	"maps"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// A Run is a run that ended, and what only its engine knows of it.
type Run struct {
	load.Event              // of kind RunEnded
	Began      time.Time    // what is known of the run begins here
	HandedOver time.Time    // the instant of Ended, with its monotonic reading
	Doubts     []string     // that leave the run inconclusive
	Trace      load.TraceID // the run's trace, which its log lines name
	Joined     time.Time    // when this process began it or took it up

	// Basis is what the run's verdict rests on; the judge sets it.
	Basis analysis.Basis

	parts []load.Finding
}

// The values of the label result of perfd_runs_total.
var results = []string{
	load.Pass.String(), load.Fail.String(), load.Inconclusive.String(), Interrupted, Errored,
}

// Results of runs that are no verdicts.
const (
	Interrupted = "interrupted" // ended before its time
	Errored     = "error"       // could not be started
)

// runCounts counts runs that ended, over reloads too. Its zero value is ready.
type runCounts struct {
	mu sync.Mutex
	of map[[2]string]uint64 // by scenario and result
}

func (c *runCounts) add(scenario, result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[[2]string]uint64{}
	}
	c.of[[2]string{scenario, result}]++
}

func (c *runCounts) collect(send analysis.Send, scenario string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, result := range results {
		send(metric.Runs, float64(c.of[[2]string{scenario, result}]), scenario, result)
	}
}

func (c *runCounts) forget(scenario string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.of, func(k [2]string, _ uint64) bool { return k[0] == scenario })
}
