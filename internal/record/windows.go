package record

import (
	"maps"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// Fold adds what was recorded since the last fold to the cumulative state and
// to the open windows, and hands out the windows that end by now. It is called
// each second by Run and at each Gather.
func (r *Recorder) Fold(now time.Time) {
	r.fold(now, func() {
		switch {
		case !now.Before(r.windowEnd):
			// After a stall the window spans all of it: its results carry no times.
			r.endWindows(now.Truncate(r.options.Window))
			r.openWindows(now)
		case now.Before(r.windowStart.Add(-r.options.Window)):
			// The wall clock went back.
			r.endWindows(r.windowEnd)
			r.openWindows(now)
		}
	})
}

// Flush folds and ends the windows under way at once. It is the last fold of a recorder.
func (r *Recorder) Flush() {
	now := r.options.Now()
	r.fold(now, func() {
		r.endWindows(r.cut(now))
		r.openWindows(now)
	})
}

// cut returns the end of windows that end at now, before their time. It is
// after their start, whatever the wall clock did.
func (r *Recorder) cut(now time.Time) time.Time {
	if now.After(r.windowStart) {
		return now.Round(0)
	}
	return r.windowEnd
}

func (r *Recorder) fold(now time.Time, end func()) {
	r.folding.Lock()
	defer r.folding.Unlock()
	parts, ended := r.foldSinks(now, end)
	for _, p := range parts {
		r.options.Failing(p)
	}
	r.handOut(ended)
}

// foldSinks folds all sinks, calls end and returns the parts of those that fail, and the windows that ended.
func (r *Recorder) foldSinks(now time.Time, end func()) (parts, ended []*load.Window) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sinks {
		s.fold()
	}
	if r.options.Failing != nil {
		parts = r.failing(now.Round(0))
	}
	end()
	ended = r.ended
	r.ended = nil
	return parts, ended
}

// failing returns what Options.Failing takes, and starts the next part of each scenario.
func (r *Recorder) failing(now time.Time) (parts []*load.Window) {
	start := r.folded
	if now.Before(start) {
		start = now // the wall clock went back
	}
	r.folded = now
	for _, name := range slices.Sorted(maps.Keys(r.scenarios)) {
		sc := r.scenarios[name]
		p := sc.part
		if p.requests == 0 {
			continue
		}
		sc.part = part{}
		good := p.requests
		for _, n := range p.failures {
			good -= n
		}
		if good == 0 || sc.failing {
			parts = append(parts, &load.Window{Scenario: name, Start: start, End: now, Requests: p.requests, Failures: p.failures, Touched: p.touched})
		}
		sc.failing = good == 0
	}
	return parts
}

// handOut gives windows their circumstances and passes them on. It holds no lock
// that the two functions could need.
func (r *Recorder) handOut(ended []*load.Window) {
	for len(ended) > 0 {
		n := 1
		for n < len(ended) && ended[n].Scenario == ended[0].Scenario && ended[n].End.Equal(ended[0].End) {
			n++
		}
		group := ended[:n]
		ended = ended[n:]
		if r.options.Circumstances != nil {
			c, release := r.options.Circumstances(group[n-1])
			for _, w := range group {
				w.Circumstances = c
				if w.Target != "" {
					w.Release = release(w.Target)
				}
			}
		}
		if r.options.Windows != nil {
			for _, w := range group {
				r.options.Windows(w)
			}
		}
	}
}

// openWindows aligns the interval of the windows under way to now.
func (r *Recorder) openWindows(now time.Time) {
	r.windowStart = now.Truncate(r.options.Window)
	r.windowEnd = r.windowStart.Add(r.options.Window)
	for _, sc := range r.scenarios {
		for _, st := range sc.steps {
			st.window.Start = r.windowStart
		}
	}
}

// endWindows ends all windows under way.
func (r *Recorder) endWindows(at time.Time) {
	for _, name := range slices.Sorted(maps.Keys(r.scenarios)) {
		sc := r.scenarios[name]
		for _, step := range slices.Sorted(maps.Keys(sc.steps)) {
			r.endStep(sc.steps[step], at)
		}
		r.endScenario(sc, at)
	}
}

func (r *Recorder) endStep(s *step, at time.Time) {
	w := s.window
	w.End = at
	r.ended = append(r.ended, w)
	s.scenario.endedSteps = append(s.scenario.endedSteps, w)
	s.window = newWindow(s, r.windowStart)
}

func (r *Recorder) endScenario(s *scenario, at time.Time) {
	w := sum(s.endedSteps)
	w.Scenario, w.Start, w.End = s.name, r.windowStart, at
	w.Iterations = s.window
	r.ended = append(r.ended, w)
	s.recent.push(w)
	s.endedSteps = nil
	s.window = newIterations()
}

func newWindow(s *step, start time.Time) *load.Window {
	w := &load.Window{
		Scenario:     s.scenario.name,
		Step:         s.name,
		Target:       s.target,
		Protocol:     s.protocol,
		Start:        start,
		Duration:     &nothing,
		ResponseTime: &nothing,
		Limits:       s.limits,
		Good:         make([]uint64, len(s.limits)),
		Checks:       make([]load.CheckCount, len(s.checks)),
	}
	for i, name := range s.checks {
		w.Checks[i].Name = name
	}
	if s.streams {
		w.Messages = &load.MessageCounts{}
	}
	return w
}

// sum adds the windows of a scenario's steps up. Limits belong to steps and are left out, and so are groups, whose
// requests their steps have.
func sum(steps []*load.Window) *load.Window {
	steps = slices.DeleteFunc(slices.Clone(steps), func(w *load.Window) bool { return w.IsGroup() })
	all := &load.Window{Duration: &nothing, ResponseTime: &nothing}
	if len(steps) == 1 {
		// Windows are read-only, so the only step's histograms serve for the scenario too.
		all.Duration, all.ResponseTime = steps[0].Duration, steps[0].ResponseTime
	}
	for _, w := range steps {
		all.Requests += w.Requests
		all.Retries += w.Retries
		for i, n := range w.Failures {
			all.Failures[i] += n
		}
		for _, c := range w.Codes {
			all.Codes = addCode(all.Codes, c)
		}
		for _, c := range w.Touched {
			all.Touched = load.AddTouched(all.Touched, c)
		}
		for i, d := range w.Phases {
			all.Phases[i] += d
		}
		all.Waited += w.Waited
		all.SentBytes += w.SentBytes
		all.ReceivedBytes += w.ReceivedBytes
		for _, c := range w.Checks {
			all.Checks = load.AddCheck(all.Checks, c)
		}
		if len(steps) > 1 {
			all.Duration = merged(all.Duration, w.Duration)
			all.ResponseTime = merged(all.ResponseTime, w.ResponseTime)
		}
	}
	return all
}
