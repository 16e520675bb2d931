package validity

import (
	"math"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

// A Balance holds one scenario's measurement to Little's law: the mean number
// of VUs in an iteration, which the engine counts, must be the rate at which
// iterations end times the mean time they took, which the recorder counts. Where
// the two disagree, iterations are missing from the record or their times are
// wrong. Its methods are safe for concurrent use.
type Balance struct {
	mu       sync.Mutex
	readings []reading // not yet part of a window
	run      string    // of what follows
	from, to time.Time // what is summed up
	busy     []float64
	ended    uint64
	spent    time.Duration
	longest  time.Duration // 99th percentile of the windows' stays, the largest
}

// A reading is how many VUs were in an iteration at an instant.
type reading struct {
	at   time.Time
	busy float64
}

const (
	// littleSpan is how long is summed up before it is judged: the stays that its edges cut must be few.
	littleSpan = 5 * time.Minute
	// littleReadings is the least number of readings that a span is judged by.
	littleReadings = 200
	// sampling is how many standard errors the mean of the readings may be off.
	sampling = 5
	// keptReadings bounds those that no window asked for.
	keptReadings = 600
)

// Busy notes how many VUs are in an iteration; it is told about once a second, at random instants.
func (b *Balance) Busy(n int, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.readings) == keptReadings {
		b.readings = append(b.readings[:0], b.readings[1:]...)
	}
	b.readings = append(b.readings, reading{at.Round(0), float64(n)})
}

// Window takes the scenario's own window, its Run set, and returns the mean
// number of VUs that were in an iteration meanwhile. Where enough has been summed
// up and does not agree with itself, broken is true and the disagreement lies
// between from and to.
func (b *Balance) Window(w *load.Window) (busy float64, broken bool, from, to time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var mine []float64
	rest := b.readings[:0]
	for _, r := range b.readings {
		switch {
		case !r.at.Before(w.End):
			rest = append(rest, r)
		case !r.at.Before(w.Start):
			mine = append(mine, r.busy)
		}
	}
	b.readings = rest
	if len(mine) > 0 {
		busy = stats.Mean(mine)
	}
	if w.Iterations == nil || w.Run == "" || w.Run != b.run || !w.Start.Equal(b.to) || w.Flags.Invalid != 0 || w.Flags.Paused {
		// What came before is another run's, or perfd did not see all of it.
		b.run, b.from, b.to, b.busy, b.ended, b.spent, b.longest = w.Run, w.End, w.End, nil, 0, 0, 0
		return busy, false, from, to
	}
	it := w.Iterations
	b.to = w.End
	b.busy = append(b.busy, mine...)
	b.ended += it.Completed + it.Stopped + it.Interrupted
	b.spent += it.Spent
	if it.Duration != nil {
		b.longest = max(b.longest, it.Duration.Quantile(0.99))
	}
	if b.to.Sub(b.from) < littleSpan {
		return busy, false, from, to
	}
	from, to = b.from, b.to
	broken = !b.holds()
	b.from, b.busy, b.ended, b.spent, b.longest = b.to, nil, 0, 0, 0
	return busy, broken, from, to
}

// holds judges what was summed up; too little of it holds.
func (b *Balance) holds() bool {
	n := len(b.busy)
	if n < littleReadings || b.ended == 0 {
		return true
	}
	span := b.to.Sub(b.from).Seconds()
	in := stats.LittleInput{
		Concurrency: stats.Mean(b.busy), Throughput: float64(b.ended) / span, Time: b.spent.Seconds() / float64(b.ended),
		Window: span, AtStart: b.busy[0], AtEnd: b.busy[n-1],
	}
	if in.Time > 0 {
		// An edge cuts long stays more often than short ones: where they differ much, what it cuts is not half a mean one.
		longer := max(1, b.longest.Seconds()/in.Time)
		in.AtStart *= longer
		in.AtEnd *= longer
		// Concurrency is a mean of readings that depend on each other; its error is spelled as one of the throughput.
		// Where few VUs are busy readings may all be alike by chance, so they vary at least as those of a Poisson process do.
		spread := max(stats.Variance(b.busy), in.Throughput*in.Time)
		in.ThroughputHalf = sampling * math.Sqrt(spread/stats.EffectiveSize(b.busy)) / in.Time
	}
	return stats.Little(in).Holds
}
