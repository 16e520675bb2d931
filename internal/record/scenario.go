package record

import (
	"cmp"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

// A scenario is the cumulative state of one scenario. It exists while a sink of
// it is open, and outlasts each of them: that is how counters survive a reload.
type scenario struct {
	name    string
	created time.Time
	sinks   []*Sink // open ones, the newest last
	steps   map[string]*step
	checks  map[string]*check

	started            uint64
	ended              [load.Interrupted + 1]uint64
	dropped            [load.NumReasons]uint64
	opened             uint64
	ignored            uint64
	stalls             uint64 // by flow control
	versionChanges     uint64
	closed             [load.NumCloseReasons]uint64
	duration, lateness distribution

	window     *load.Iterations // under way
	endedSteps []*load.Window   // of steps, since the scenario's last own window
	recent     recent

	part    part // since the last fold
	failing bool // every request of the last part that had any failed

	label         *dto.LabelPair
	stepsInOrder  []*step // of names, as of the last Gather
	checksInOrder []*check
}

// A part is what a scenario counted since the last fold.
type part struct {
	requests uint64
	failures [load.NumCauses]uint64
	touched  []load.TouchedCount
}

func newScenario(name string, now time.Time) *scenario {
	return &scenario{
		name:    name,
		created: now,
		steps:   make(map[string]*step),
		checks:  make(map[string]*check),
		window:  newIterations(),
		label:   label("scenario", name),
	}
}

func newIterations() *load.Iterations {
	return &load.Iterations{Duration: &nothing, Lateness: &nothing}
}

// nothing is the histogram of every window in which nothing was recorded. Windows are read-only.
var nothing hist.Histogram

// merged returns h with everything that g holds added: h itself, unless it is nothing.
func merged(h, g *hist.Histogram) *hist.Histogram {
	if g.Count() == 0 {
		return h
	}
	if h == &nothing {
		h = new(hist.Histogram)
	}
	h.Merge(g)
	return h
}

func (s *scenario) addIterations(c *iterationCell) {
	s.started += c.started
	for i, n := range c.ended {
		s.ended[i] += n
	}
	s.duration.add(&c.duration)
	s.lateness.add(&c.lateness)

	w := s.window
	w.Started += c.started
	w.Completed += c.ended[load.Completed]
	w.Stopped += c.ended[load.Stopped]
	w.Interrupted += c.ended[load.Interrupted]
	w.Spent += time.Duration(c.spent)
	w.Duration = merged(w.Duration, &c.duration.hist)
	w.Lateness = merged(w.Lateness, &c.lateness.hist)
}

func (s *scenario) addDrops(why load.Reason, n uint64) {
	s.dropped[why] += n
	s.window.Dropped[why] += n
}

// A step is the cumulative state of one step and its window under way.
type step struct {
	scenario *scenario
	name     string
	target   string // of the newest sink that has the step
	protocol string
	tags     map[string]string // likewise
	created  time.Time
	sinks    int // open sinks that have the step
	group    bool
	metric   *load.Metric // nil for a step or group
	retried  bool
	streams  bool        // it opens streams
	messages messageCell // of these
	cells    *cellPool   // of a trend with bounds of its own; nil for those of all

	totals
	limits []time.Duration // of windows to come
	checks []string        // of windows to come
	window *load.Window

	variants map[string]*variant // of a metric with labels
	leftOut  uint64              // values with labels that the metric may not have

	label           *dto.LabelPair
	variantsInOrder []*variant // of labels, as of the last Gather
}

// A check is the cumulative state of one check; steps of a scenario may share it.
type check struct {
	name    string
	created time.Time
	sinks   int
	checkCount
	label *dto.LabelPair
}

func (c *check) add(n checkCount) {
	c.evaluated += n.evaluated
	c.failed += n.failed
}

// add counts a cell in the totals and in the window. The cell and the totals are in the same bounds.
func (s *step) add(c *stepCell) {
	s.totals.add(c)

	w, p := s.window, &s.scenario.part
	w.Requests += c.requests
	w.Retries += c.retries
	if s.metric != nil {
		p = new(part) // no request
	}
	p.requests += c.requests
	for i, n := range c.failures {
		w.Failures[i] += n
		p.failures[i] += n
	}
	for i, ns := range c.phases {
		w.Phases[i] += time.Duration(ns)
	}
	w.Waited += time.Duration(c.waited)
	w.SentBytes += c.sent
	w.ReceivedBytes += c.received
	w.Duration = merged(w.Duration, &c.duration.hist)
	w.ResponseTime = merged(w.ResponseTime, &c.response.hist)
	for i, limit := range w.Limits {
		w.Good[i] += c.bounds.upTo(limit, c.response.classic)
	}
	if m := c.messages; m != nil {
		if w.Messages == nil { // a reload has the step open streams since the window began
			w.Messages = &load.MessageCounts{}
		}
		w.Messages.Add(&m.MessageCounts)
	}
	if c.touched != nil {
		w.Touched = addTouched(w.Touched, c.touched)
		p.touched = addTouched(p.touched, c.touched)
	}
}

// addTouched returns list with what a cell counted added.
func addTouched(list []load.TouchedCount, c *touchedCell) []load.TouchedCount {
	for by := range c.counts {
		for cause, n := range c.counts[by] {
			list = load.AddTouched(list, load.TouchedCount{By: load.Disturbance(by), Cause: load.Cause(cause), Count: n})
		}
	}
	return list
}

// addCode counts answers with one code, unless the code would be one beyond the cap.
func (s *step) addCode(c load.CodeCount, most int) bool {
	if _, known := slices.BinarySearchFunc(s.codes, c.Code, compareCode); !known && len(s.codes) >= most {
		return false
	}
	s.codes = addCode(s.codes, c)
	s.window.Codes = addCode(s.window.Codes, c)
	return true
}

// addCode returns codes, which are sorted, with c added.
func addCode(codes []load.CodeCount, c load.CodeCount) []load.CodeCount {
	if c.Count == 0 {
		return codes
	}
	i, known := slices.BinarySearchFunc(codes, c.Code, compareCode)
	if !known {
		codes = slices.Insert(codes, i, load.CodeCount{Code: c.Code})
	}
	codes[i].Count += c.Count
	return codes
}

func compareCode(c load.CodeCount, code int32) int { return cmp.Compare(c.Code, code) }

func (s *step) addCheck(name string, n checkCount) {
	s.window.Checks = load.AddCheck(s.window.Checks, load.CheckCount{Name: name, Evaluated: n.evaluated, Failed: n.failed})
}
