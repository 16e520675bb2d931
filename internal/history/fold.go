package history

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

// A folder makes long windows and samples of short ones that are added in order
// of their ends. Windows of a scenario are folded together as long as they
// follow each other without a gap, in the same circumstances, run and release,
// and end in the same interval; so what was known of the short ones is exactly
// true of the long one, and requests divided by length remains a rate.
type folder struct {
	length time.Duration
	emit   func([]*load.Window) // those of a scenario that end together, steps first
	sample func([]load.Sample)

	bucket  time.Time // end of the interval under way
	windows map[string]map[string]*load.Window
	samples map[sampleKey]*load.Sample
}

type sampleKey struct{ target, resource, kind, member string }

func newFolder(length time.Duration, windows func([]*load.Window), samples func([]load.Sample)) *folder {
	return &folder{
		length: length, emit: windows, sample: samples,
		windows: map[string]map[string]*load.Window{}, samples: map[sampleKey]*load.Sample{},
	}
}

// bucketEnd returns the end of the interval of a length in which t ends. An
// interval holds its end and not its start.
func bucketEnd(t time.Time, length time.Duration) time.Time {
	return t.Add(-1).Truncate(length).Add(length)
}

func (f *folder) enter(end time.Time) {
	if bucket := bucketEnd(end, f.length); !bucket.Equal(f.bucket) {
		f.flush()
		f.bucket = bucket
	}
}

// addWindows takes windows of one scenario that ended together.
func (f *folder) addWindows(group []*load.Window) {
	f.enter(group[0].End)
	scenario := group[0].Scenario
	open := f.windows[scenario]
	for _, w := range group {
		if to, ok := open[w.Step]; ok && !folds(to, w) {
			f.end(scenario)
			open = nil
			break
		}
	}
	if open == nil {
		open = map[string]*load.Window{}
		f.windows[scenario] = open
	}
	for _, w := range group {
		if to, ok := open[w.Step]; ok {
			merge(to, w)
		} else {
			open[w.Step] = begin(w)
		}
	}
}

// addSample takes a sample.
func (f *folder) addSample(s load.Sample) {
	f.enter(s.End)
	k := sampleKey{s.Target, s.Resource, s.Kind, s.Member}
	to, ok := f.samples[k]
	if !ok {
		f.samples[k] = &s
		return
	}
	a, b := float64(max(to.Count, 1)), float64(max(s.Count, 1))
	to.Mean += (s.Mean - to.Mean) * b / (a + b)
	to.Count += s.Count
	to.Min, to.Max = min(to.Min, s.Min), max(to.Max, s.Max)
	to.Last, to.End = s.Last, s.End
	if s.Start.Before(to.Start) {
		to.Start = s.Start
	}
}

// flush emits everything under way.
func (f *folder) flush() {
	for _, scenario := range slices.Sorted(maps.Keys(f.windows)) {
		f.end(scenario)
	}
	if len(f.samples) == 0 {
		return
	}
	var all []load.Sample
	for _, s := range f.samples {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b load.Sample) int {
		return cmp.Or(a.End.Compare(b.End), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Resource, b.Resource),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Member, b.Member))
	})
	clear(f.samples)
	f.sample(all)
}

// end emits the windows of a scenario that are under way.
func (f *folder) end(scenario string) {
	all := slices.SortedFunc(maps.Values(f.windows[scenario]), func(a, b *load.Window) int {
		return cmp.Or(a.End.Compare(b.End), stepsFirst(a, b), cmp.Compare(a.Step, b.Step))
	})
	delete(f.windows, scenario)
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].End.Equal(all[0].End) {
			n++
		}
		f.emit(all[:n])
		all = all[n:]
	}
}

// stepsFirst puts a scenario's own window after those of its steps.
func stepsFirst(a, b *load.Window) int {
	switch {
	case (a.Step == "") == (b.Step == ""):
		return 0
	case a.Step == "":
		return 1
	}
	return -1
}

// folds reports whether w goes on where the window under way, to, ends.
func folds(to, w *load.Window) bool {
	return to.End.Equal(w.Start) && to.Flags == w.Flags && to.Run == w.Run && to.Release == w.Release &&
		to.Target == w.Target && to.Protocol == w.Protocol && slices.Equal(to.Limits, w.Limits) &&
		(to.Iterations == nil) == (w.Iterations == nil)
}

// begin returns a copy of w that merge may change.
func begin(w *load.Window) *load.Window {
	to := *w
	to.Codes, to.Good, to.Checks, to.Touched = slices.Clone(w.Codes), slices.Clone(w.Good), slices.Clone(w.Checks), slices.Clone(w.Touched)
	to.Duration, to.ResponseTime = clone(w.Duration), clone(w.ResponseTime)
	if w.Iterations != nil {
		it := *w.Iterations
		it.Duration, it.Lateness = clone(it.Duration), clone(it.Lateness)
		to.Iterations = &it
	}
	return &to
}

func clone(h *hist.Histogram) *hist.Histogram {
	c := new(hist.Histogram)
	c.Merge(h)
	return c
}

func merge(to, w *load.Window) {
	a, b := to.End.Sub(to.Start).Seconds(), w.End.Sub(w.Start).Seconds()
	if a+b > 0 {
		to.Busy = (to.Busy*a + w.Busy*b) / (a + b)
	}
	to.Planned += w.Planned
	to.Stalled += w.Stalled
	to.End = w.End
	to.Requests += w.Requests
	add(to.Failures[:], w.Failures[:])
	for _, c := range w.Codes {
		to.Codes = addCode(to.Codes, c)
	}
	for _, c := range w.Touched {
		to.Touched = load.AddTouched(to.Touched, c)
	}
	to.Duration.Merge(w.Duration)
	to.ResponseTime.Merge(w.ResponseTime)
	add(to.Good, w.Good)
	for i, d := range w.Phases {
		to.Phases[i] += d
	}
	to.Waited += w.Waited
	to.SentBytes += w.SentBytes
	to.ReceivedBytes += w.ReceivedBytes
	for _, c := range w.Checks {
		to.Checks = load.AddCheck(to.Checks, c)
	}
	if it, from := to.Iterations, w.Iterations; it != nil {
		it.Started += from.Started
		it.Completed += from.Completed
		it.Stopped += from.Stopped
		it.Interrupted += from.Interrupted
		add(it.Dropped[:], from.Dropped[:])
		it.Excused += from.Excused
		it.Spent += from.Spent
		it.Duration.Merge(from.Duration)
		it.Lateness.Merge(from.Lateness)
	}
}

func add(to, from []uint64) {
	for i, n := range from {
		to[i] += n
	}
}

func addCode(list []load.CodeCount, c load.CodeCount) []load.CodeCount {
	i, ok := slices.BinarySearchFunc(list, c.Code, func(l load.CodeCount, code int32) int { return cmp.Compare(l.Code, code) })
	if ok {
		list[i].Count += c.Count
		return list
	}
	return slices.Insert(list, i, c)
}
