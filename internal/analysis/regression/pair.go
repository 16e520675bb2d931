package regression

import (
	"time"

	"github.com/perfd/perfd/internal/load"
)

// Bounds on what a pair remembers.
const (
	keptBlocks = 800      // of the release under way and of the one before
	keptBefore = 100      // of each release before these
	keptStints = 5        // releases before
	keptRuns   = 200      // of each release
	keptPoints = 6 * week // of an hour or a run
)

// A pair is one step of a scenario, or the scenario as a whole where step is empty.
type pair struct {
	step   string
	target string

	fine, tail folder // for p95 and what is below, for p99
	session    folder // everything since the last pause between runs
	hour       folder

	stints []*stint // the newest last
	fresh  bool     // a block closed since the last look

	results  []result // of the latest comparison
	looked   string   // why there was none
	standing *standing

	anchor      *stint   // whose level was accepted: the first, one that was accepted, or one that was proven better
	sinceAnchor int      // releases that began since
	crept       []result // of the latest comparison with it

	points []point
	since  time.Time // points before do not count
	moved  *shift    // a change that no release explains
	grown  bool      // a point was added since the last search
}

// A stint is the time during which one release was measured by one observer.
type stint struct {
	origin              // of its first block
	start               time.Time
	blocks, tails, runs []block
	seen                [2]int // blocks and runs that ever were, by unit
	chains              int    // chains of runs it spans
	last                int    // the newest of them
	looks               int    // spent
	next                int    // size at which the next look is due; 0 until the first
	bad                 bool   // a regression stands
	accepted            bool   // its level is the baseline whatever was before
	acceptedAt          time.Time
	retired             bool // a level that was given up: a later one was accepted
}

func newPair(step string) *pair {
	return &pair{
		step:    step,
		fine:    folder{length: time.Minute, requests: leastRequests},
		tail:    folder{length: time.Minute, requests: leastTail},
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
		s := p.stint(o, b.began())
		s.blocks = keep(s.blocks, *b, keptBlocks)
		s.seen[intervals]++
		p.fresh = true
	}
	if b := p.tail.add(w, o, w.Run); b != nil {
		s := p.stint(o, b.began())
		s.tails = keep(s.tails, *b, keptBlocks)
	}
}

// endSession closes a chain of runs, which is one unit where releases are
// compared by runs.
func (p *pair) endSession() {
	o, at := p.session.origin, p.session.start
	if b := p.session.close(); b != nil {
		s := p.stint(o, at)
		s.runs = keep(s.runs, *b, keptRuns)
		s.seen[runs]++
		p.fresh = true
	}
}

// stint returns the stint of an origin, a new one where the last is another's.
func (p *pair) stint(o origin, at time.Time) *stint {
	if n := len(p.stints); n > 0 {
		if s := p.stints[n-1]; s.release == o.release && s.observer == o.observer {
			if s.last != o.chain {
				s.last = o.chain
				s.chains++
			}
			return s
		}
		s := p.stints[n-1]
		if n > 1 {
			before := p.stints[n-2]
			before.blocks, before.tails = last(before.blocks, keptBefore), last(before.tails, keptBefore)
		}
		if p.standing != nil && s.observer != o.observer {
			p.standing = nil // nobody can tell any more
		}
	}
	s := &stint{origin: o, start: at, chains: 1, last: o.chain, bad: p.standing != nil}
	p.stints = append(p.stints, s)
	p.results, p.crept, p.looked = nil, nil, ""
	if p.sinceAnchor++; p.anchor == nil || p.anchor.observer != s.observer {
		p.setAnchor(s)
	}
	p.forget()
	return s
}

// forget lets the oldest stint go that nothing needs any more.
func (p *pair) forget() {
	for i, s := range p.stints {
		if len(p.stints) <= keptStints+1 {
			return
		}
		if s == p.anchor || p.standing != nil && p.standing.baseline == s {
			continue
		}
		p.stints = append(p.stints[:i], p.stints[i+1:]...)
		return
	}
}

func (p *pair) current() *stint {
	if len(p.stints) == 0 {
		return nil
	}
	return p.stints[len(p.stints)-1]
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
