package validity

import (
	"math"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

// A LittleCheck tests one scenario's measurement by Little's law, L = λW: the
// mean number of VUs in an iteration (L), which the engine counts, must be the
// rate at which iterations end (λ) times the mean time they took (W), which the
// recorder counts. Where the two disagree, iterations are missing from the
// record or their times are wrong. Its methods are safe for concurrent use.
type LittleCheck struct {
	mu       sync.Mutex
	readings []reading // not yet part of a window
	run      string    // of what follows
	from, to time.Time // what is summed up
	busy     []float64
	ended    uint64
	spent    time.Duration
	longest  time.Duration // largest 99th percentile of iteration durations of a window
}

// A reading is how many VUs were in an iteration at an instant.
type reading struct {
	at   time.Time
	busy float64
}

const (
	// littleSpan is the time over which iterations are summed before they are
	// judged: those that the edges of the span cut must be few among them.
	littleSpan = 5 * time.Minute
	// littleReadings is the number of readings below which a span is not judged.
	littleReadings = 200
	// sampling is the number of standard errors that the mean of the readings may be off.
	sampling = 5
	// mostBlind is the share of a window in which nobody may have looked, because perfd did not run.
	mostBlind = 0.05
	// keptReadings bounds the readings that wait for their window.
	keptReadings = 600
)

// Busy takes how many VUs are in an iteration at an instant. It is called about once a second, at random instants.
func (c *LittleCheck) Busy(n int, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.readings) == keptReadings {
		c.readings = append(c.readings[:0], c.readings[1:]...)
	}
	c.readings = append(c.readings, reading{at.Round(0), float64(n)})
}

// Window takes the scenario's own window, its Run set, and returns the mean
// number of VUs that were in an iteration meanwhile. Where enough has been summed
// up and does not agree with itself, broken is true and the disagreement lies
// between from and to.
func (c *LittleCheck) Window(w *load.Window) (busy float64, broken bool, from, to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var mine []float64
	rest := c.readings[:0]
	for _, r := range c.readings {
		switch {
		case !r.at.Before(w.End):
			rest = append(rest, r)
		case !r.at.Before(w.Start):
			mine = append(mine, r.busy)
		}
	}
	c.readings = rest
	if len(mine) > 0 {
		busy = stats.Mean(mine)
	}
	blind := w.Flags.Invalid != 0 || w.Stalled > time.Duration(mostBlind*float64(w.End.Sub(w.Start)))
	if w.Iterations == nil || w.Run == "" || w.Run != c.run || !w.Start.Equal(c.to) || blind || w.Flags.Paused {
		// The sums are of another run, or perfd did not see all of it.
		c.run, c.from, c.to, c.busy, c.ended, c.spent, c.longest = w.Run, w.End, w.End, nil, 0, 0, 0
		return busy, false, from, to
	}
	it := w.Iterations
	c.to = w.End
	c.busy = append(c.busy, mine...)
	c.ended += it.Completed + it.Stopped + it.Interrupted
	c.spent += it.Spent
	if it.Duration != nil {
		c.longest = max(c.longest, it.Duration.Quantile(0.99))
	}
	if c.to.Sub(c.from) < littleSpan {
		return busy, false, from, to
	}
	from, to = c.from, c.to
	broken = !c.holds()
	c.from, c.busy, c.ended, c.spent, c.longest = c.to, nil, 0, 0, 0
	return busy, broken, from, to
}

// holds reports whether the sums agree; too few readings agree with anything.
func (c *LittleCheck) holds() bool {
	n := len(c.busy)
	if n < littleReadings || c.ended == 0 {
		return true
	}
	span := c.to.Sub(c.from).Seconds()
	in := stats.LittleInput{
		Concurrency: stats.Mean(c.busy), Throughput: float64(c.ended) / span, Time: c.spent.Seconds() / float64(c.ended),
		Window: span, AtStart: c.busy[0], AtEnd: c.busy[n-1],
	}
	if in.Time > 0 {
		// An edge cuts long iterations more often than short ones (length-biased
		// sampling): where durations differ much, it cuts more than half of the mean.
		longer := max(1, c.longest.Seconds()/in.Time)
		in.AtStart *= longer
		in.AtEnd *= longer
		// Concurrency is the mean of correlated readings; its error is passed as one of the throughput, L/W.
		// Few busy VUs may give equal readings by chance, so their variance is at least that of a Poisson process, λW.
		spread := max(stats.Variance(c.busy), in.Throughput*in.Time)
		in.ThroughputHalf = sampling * math.Sqrt(spread/stats.EffectiveSize(c.busy)) / in.Time
	}
	return stats.Little(in).Holds
}
