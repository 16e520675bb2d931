package fleet

import (
	"encoding/hex"
	"log/slog"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// keptFailures is how many recent failures a scenario keeps for people to read.
const keptFailures = 50

// logEvery is the shortest time between two log lines about the same step failing for the same cause.
const logEvery = time.Minute

// A Failure is one failed request as people read it.
type Failure struct {
	At       time.Time
	Step     string
	Cause    load.Cause
	Code     int32
	Duration time.Duration
	Text     string
	Run      string
	Trace    load.TraceID
}

// A failureRing keeps a scenario's last failures, and logs the first of a kind
// and then one a minute. Failing targets fail often, so a result that arrives
// while another is being written down is counted by the recorder only.
type failureRing struct {
	log *slog.Logger

	mu     sync.Mutex
	ring   [keptFailures]Failure
	next   int
	full   bool
	logged map[logKey]*logState

	strike   func(string) string // strikes secrets out of a text; nil leaves it
	unstruck int                 // the newest failures whose texts may hold some
}

type logKey struct {
	step  string
	cause load.Cause
}

type logState struct {
	at      time.Time
	skipped int
}

func newFailureRing(log *slog.Logger, strike func(string) string) *failureRing {
	return &failureRing{log: log, logged: map[logKey]*logState{}, strike: strike}
}

func (r *failureRing) add(f Failure) {
	if !r.mu.TryLock() {
		return
	}
	defer r.mu.Unlock()
	r.ring[r.next] = f
	r.unstruck = min(r.unstruck+1, len(r.ring))
	r.next++
	if r.next == len(r.ring) {
		r.next, r.full = 0, true
	}
	k := logKey{f.Step, f.Cause}
	s := r.logged[k]
	if s == nil {
		s = &logState{}
		r.logged[k] = s
	} else if f.At.Sub(s.at) < logEvery {
		s.skipped++
		return
	}
	r.log.Warn("request failed", "step", f.Step, "cause", f.Cause.String(), "code", f.Code,
		"duration", f.Duration, "err", f.Text, "run", f.Run, "trace_id", hex.EncodeToString(f.Trace[:]), "more_since_last_line", s.skipped)
	s.at, s.skipped = f.At, 0
}

// conceal strikes secrets out of what was added since it was last called: when somebody reads, and before a reload
// forgets the secrets of the document before. Thousands may fail a second, and a few are read.
func (r *failureRing) conceal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.strike == nil {
		return
	}
	for ; r.unstruck > 0; r.unstruck-- {
		f := &r.ring[(r.next-r.unstruck+len(r.ring))%len(r.ring)]
		f.Text = r.strike(f.Text)
	}
}

// recent returns the failures kept, newest first.
func (r *failureRing) recent() []Failure {
	r.conceal()
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.next
	if r.full {
		n = len(r.ring)
	}
	out := make([]Failure, 0, n)
	for i := range n {
		out = append(out, r.ring[(r.next-1-i+len(r.ring))%len(r.ring)])
	}
	return out
}
