package target

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
)

// A BackOff is the block that says how load on a target in distress is reduced.
type BackOff struct {
	Enabled bool           `yaml:"enabled" doc:"Whether load is taken away (default true)."`
	After   block.Duration `yaml:"after" doc:"How long half of all requests or more must fail for want of an answer before load is taken away (default 2m, so that objectives have their verdict first)."`
	Floor   float64        `yaml:"floor" doc:"Least share of the load that is still sent (default 0.1)."`
}

// DefaultBackOff returns the block with its defaults.
func DefaultBackOff() BackOff {
	return BackOff{Enabled: true, After: block.Duration(2 * time.Minute), Floor: 0.1}
}

// DecodeBlock decodes the block over the defaults.
func (b *BackOff) DecodeBlock(n *block.Node, errs *block.Errors) {
	type plain BackOff
	*b = DefaultBackOff()
	before := errs.Len()
	block.Decode(n, (*plain)(b), errs)
	if errs.Len() == before && (b.Floor <= 0 || b.Floor > 1) {
		at := n.Get("floor")
		errs.Add(at.Pos, at.Path, "must be more than 0 and at most 1, got %v", b.Floor).Hint = "some load must go on, or a recovery is never seen"
	}
}

// JSONSchema returns the schema of the block.
func (BackOff) JSONSchema() map[string]any {
	type plain BackOff
	return block.Schema(plain{})
}

const (
	// judgeEvery is the length of the span over which a target is judged, and the least time between two changes of its share.
	judgeEvery = 10 * time.Second
	// fewest is the number of results that a judgement needs at full load: a ratio of fewer is mostly chance.
	fewest = 20
)

// A Distress observes whether a target still answers, and decides which share of
// the load it gets:
//
//	share 1    for After, half of the results or more were distress   share halves
//	share < 1  half of the results or more were distress              share halves, to Floor
//	share < 1  fewer                                                  share doubles, to 1
//	any        too few results                                        share is unchanged
//
// All methods are safe for concurrent use. Observe and Admit take no lock.
type Distress struct {
	b BackOff

	results    atomic.Uint64
	distressed atomic.Uint64 // of results
	unanswered atomic.Uint64 // of results

	share  atomic.Uint64 // math.Float64bits
	silent atomic.Bool   // no result of the last span was answered
	debt   atomic.Uint64 // iterations that Admit let pass, in units of 2⁻³²

	mu     sync.Mutex
	judged time.Time // end of the last span
	before counts    // at the end of the last span
	since  time.Time // begin of the distress, zero for none
}

type counts struct{ results, distressed, unanswered uint64 }

// NewDistress returns the Distress of one target, at first with a share of 1.
func NewDistress(b BackOff) *Distress {
	d := &Distress{b: b}
	d.setShare(1)
	return d
}

// Observe counts a result. It ignores requests that perfd canceled.
func (d *Distress) Observe(r *load.Result) {
	if r.Cause == load.Canceled {
		return
	}
	d.results.Add(1)
	distressed, unanswered := symptoms(r)
	if distressed {
		d.distressed.Add(1)
	}
	if unanswered {
		d.unanswered.Add(1)
	}
}

// The HTTP codes with which a target asks for less load.
const (
	tooManyRequests    = 429
	serviceUnavailable = 503
)

// symptoms reports whether a result is one of a target in distress, and whether
// the request was not answered at all.
func symptoms(r *load.Result) (distressed, unanswered bool) {
	switch r.Cause {
	case load.Timeout, load.Refused, load.Unreachable, load.Reset, load.Closed, load.Overload, load.StreamReset, load.GoAway:
		return true, r.Code == 0
	case load.DNS, load.TLS, load.Internal, load.Input:
		return false, r.Code == 0
	}
	return r.Code == tooManyRequests || r.Code == serviceUnavailable, false
}

// Admit reports whether an iteration may start. With a share s of the load exactly
// every 1/s-th iteration may.
func (d *Distress) Admit() bool {
	share := d.Share()
	if share >= 1 {
		return true
	}
	step := uint64(math.Ceil(share * (1 << 32)))
	after := d.debt.Add(step)
	return after>>32 != (after-step)>>32
}

// Share returns the share of the load that the target gets, at most 1.
func (d *Distress) Share() float64 { return math.Float64frombits(d.share.Load()) }

func (d *Distress) setShare(share float64) { d.share.Store(math.Float64bits(share)) }

// Up reports whether the target answered any request of the last span with
// results. It is true before the first.
func (d *Distress) Up() bool { return !d.silent.Load() }

// Look judges the target if a span is over. It must be called every few seconds.
func (d *Distress) Look(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.judged.IsZero() {
		d.judged = now
		return
	}
	if now.Sub(d.judged) < judgeEvery {
		return
	}
	all := counts{d.results.Load(), d.distressed.Load(), d.unanswered.Load()}
	span := counts{all.results - d.before.results, all.distressed - d.before.distressed, all.unanswered - d.before.unanswered}
	began := d.judged
	d.before, d.judged = all, now
	if span.results > 0 {
		d.silent.Store(span.unanswered >= span.results)
		d.judge(span, began, now)
	}
}

func (d *Distress) judge(span counts, began, now time.Time) {
	share := d.Share()
	if float64(span.results) < fewest*share {
		return
	}
	if 2*span.distressed < span.results {
		d.since = time.Time{}
		d.setShare(min(1, 2*share))
		return
	}
	if d.since.IsZero() {
		d.since = began
	}
	if d.b.Enabled && (share < 1 || now.Sub(d.since) >= d.b.After.D()) {
		d.setShare(max(d.b.Floor, share/2))
	}
}
