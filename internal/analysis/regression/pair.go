package regression

import (
	"time"

	"github.com/perfd/perfd/internal/load"
)

// Bounds on what a pair remembers.
const (
	keptBlocks      = 800      // of the release under way and of the one before
	keptBefore      = 100      // of each release before these
	keptDeployments = 5        // releases before
	keptRuns        = 200      // of each release
	keptPoints      = 6 * week // of an hour or a run
)

// A pair is one step of a scenario, or the scenario as a whole where step is empty.
type pair struct {
	step   string
	metric bool // step is a metric of the scenario's own
	target string

	fine, tail folder // for p95 and what is below, for p99
	session    folder // everything since the last pause between runs
	hour       folder

	deployments []*deployment // the newest last
	fresh       bool          // a block closed since the last look

	results   []result // of the latest comparison
	looked    string   // why there was none
	confirmed *confirmed
	mended    struct { // the last regression that is proven to be gone
		release string // that brought it
		at      time.Time
	}

	anchor      *deployment // whose level was accepted: the first, one that was accepted, or one that was proven better
	sinceAnchor int         // releases that began since
	crept       []result    // of the latest comparison with it

	points []point
	since  time.Time // points before do not count
	moved  *shift    // a change that no release explains
	grown  bool      // a point was added since the last search
}

// A deployment is the time during which one release was measured by one observer.
type deployment struct {
	origin              // of its first block
	start               time.Time
	blocks, tails, runs []block
	seen                [2]int // blocks and runs that ever were, by unit
	chains              int    // chains of runs it spans
	last                int    // the newest of them
	looks               int    // spent
	next                int    // size at which the next look is due; 0 until the first
	bad                 bool   // a regression holds
	accepted            bool   // its level is the baseline whatever was before
	acceptedAt          time.Time
	retired             bool // a level that was given up: a later one was accepted
}

func newPair(step string) *pair {
	return &pair{
		step:    step,
		fine:    folder{length: DefaultInterval, requests: leastRequests},
		tail:    folder{length: DefaultInterval, requests: leastTail},
		session: folder{length: 1 << 62},
		hour:    folder{length: time.Hour, requests: leastRequests},
	}
}

// add takes a window that counts.
func (p *pair) add(w *load.Window, o origin) {
	p.target = w.Target
	p.point(w, o)
	if o.release == "" {
		return
	}
	if p.session.span > 0 && p.session.origin != o {
		p.endSession()
	}
	p.session.add(w, o, "")
	if b := p.fine.add(w, o, w.Run); b != nil {
		s := p.deployment(o, b.began())
		s.blocks = keep(s.blocks, *b, keptBlocks)
		s.seen[intervals]++
		p.fresh = true
	}
	if b := p.tail.add(w, o, w.Run); b != nil {
		s := p.deployment(o, b.began())
		s.tails = keep(s.tails, *b, keptBlocks)
	}
}

// endSession closes a chain of runs, which is one unit where releases are
// compared by runs.
func (p *pair) endSession() {
	o, at := p.session.origin, p.session.start
	if b := p.session.close(); b != nil {
		s := p.deployment(o, at)
		s.runs = keep(s.runs, *b, keptRuns)
		s.seen[runs]++
		p.fresh = true
	}
}

// deployment returns the deployment of an origin, a new one where the last is another's.
func (p *pair) deployment(o origin, at time.Time) *deployment {
	if n := len(p.deployments); n > 0 {
		if s := p.deployments[n-1]; s.release == o.release && s.observer == o.observer {
			if s.last != o.chain {
				s.last = o.chain
				s.chains++
			}
			return s
		}
		s := p.deployments[n-1]
		if n > 1 {
			before := p.deployments[n-2]
			before.blocks, before.tails = last(before.blocks, keptBefore), last(before.tails, keptBefore)
		}
		if p.confirmed != nil && s.observer != o.observer {
			p.confirmed = nil // the two observers are not comparable
		}
	}
	s := &deployment{origin: o, start: at, chains: 1, last: o.chain, bad: p.confirmed != nil}
	p.deployments = append(p.deployments, s)
	p.results, p.crept, p.looked = nil, nil, ""
	if p.sinceAnchor++; p.anchor == nil || p.anchor.observer != s.observer {
		p.setAnchor(s)
	}
	p.forget()
	return s
}

// forget lets the oldest deployment go that nothing needs any more.
func (p *pair) forget() {
	for i, s := range p.deployments {
		if len(p.deployments) <= keptDeployments+1 {
			return
		}
		if s == p.anchor || p.confirmed != nil && p.confirmed.baseline == s {
			continue
		}
		p.deployments = append(p.deployments[:i], p.deployments[i+1:]...)
		return
	}
}

func (p *pair) current() *deployment {
	if len(p.deployments) == 0 {
		return nil
	}
	return p.deployments[len(p.deployments)-1]
}

// keep appends to a list of at most n blocks.
func keep(list []block, b block, n int) []block {
	if len(list) >= n {
		copy(list, list[len(list)-n+1:])
		list = list[:n-1]
	}
	return append(list, b)
}

// last returns the last n blocks in memory of their own.
func last(list []block, n int) []block {
	return append([]block(nil), list[max(0, len(list)-n):]...)
}
