package limit

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

var update = flag.Bool("update", false, "rewrite testdata/sentences.txt")

var start = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

const gib = 1 << 30

// A feed gives an analysis readings of one shop, 15 s apart.
type feed struct {
	*Analysis
	now time.Time
}

// newFeed returns a feed of a heap with a limit of 2 GiB, descriptors with one of
// 1,000, and threads without one.
func newFeed() *feed {
	f := &feed{New(), start}
	f.Configure(shop(2*gib, 0.85))
	return f
}

func shop(limit, warnAt float64) *analysis.Description {
	const every = 15 * time.Second
	return &analysis.Description{Targets: []analysis.Target{{Name: "shop", Resources: []analysis.Resource{
		{Name: "heap", Kind: load.ResourceMemory, Limit: limit, WarnAt: warnAt, Every: every},
		{Name: "files", Kind: load.ResourceDescriptors, Limit: 1000, WarnAt: 0.85, Every: every},
		{Name: "threads", Kind: load.ResourceThreads, WarnAt: 0.85, Every: every},
		{Name: "slow", Kind: load.ResourceConnections, Limit: 10, WarnAt: 0.5, Every: time.Hour},
	}}}}
}

func (f *feed) read(resource, member string, levels ...float64) {
	for _, v := range levels {
		f.now = f.now.Add(15 * time.Second)
		f.Sample(load.Sample{Target: "shop", Resource: resource, Member: member, Start: f.now, End: f.now, Count: 1, Min: v, Mean: v, Max: v, Last: v})
	}
}

// heap reads levels of the heap as shares of 2 GiB.
func (f *feed) heap(shares ...float64) {
	for _, s := range shares {
		f.read("heap", "shop-1", s*2*gib)
	}
}

func (f *feed) run(kind load.EventKind) load.Event {
	e := load.Event{Kind: kind, At: f.now, Scenario: "soak", Run: "r1", Target: "shop", Release: "v2"}
	f.Event(e)
	return e
}

// sent returns the metrics by name and label values.
func (f *feed) sent() map[string]float64 {
	got := map[string]float64{}
	f.Collect(func(d *metric.Desc, v float64, labels ...string) { got[d.Name+" "+strings.Join(labels, " ")] = v })
	return got
}

func TestAThresholdNeedsTwoReadings(t *testing.T) {
	const (
		within = "within its limit"
		near   = "near its limit"
		over   = "over its limit"
		open   = "is not known yet"
	)
	for _, c := range []struct {
		name   string
		shares []float64
		says   string
		want   load.Verdict
	}{
		{"one reading", []float64{0.5}, open, load.Inconclusive},
		{"two readings", []float64{0.5, 0.5}, within, load.Pass},
		{"just below the warning", []float64{0.84, 0.8499}, within, load.Pass},
		{"one burst", []float64{0.5, 0.5, 1.2}, open, load.Inconclusive},
		{"bursts apart", []float64{0.5, 1.2, 0.5, 1.2, 0.5}, within, load.Pass},
		{"at the warning", []float64{0.5, 0.85, 0.85}, near, load.Fail},
		{"one reading over, the other near", []float64{0.5, 1.2, 0.9}, near, load.Fail},
		{"one reading over while near", []float64{0.9, 0.9, 1.2}, near, load.Fail},
		{"over", []float64{0.5, 1.1, 1.2}, over, load.Fail},
		{"over from the first reading", []float64{1.1, 1.1}, over, load.Fail},
		{"at the limit", []float64{1, 1}, "is at its limit", load.Fail},
		{"over, then a reading far below", []float64{1.1, 1.1, 0.1}, over, load.Fail},
		{"over, below by less than 2 %", []float64{1.1, 1.1, 0.985, 0.985, 0.985}, over, load.Fail},
		{"over, then near", []float64{1.1, 1.1, 0.97, 0.97}, near, load.Fail},
		{"over, then within", []float64{1.1, 1.1, 0.5, 0.5}, within, load.Pass},
		{"near, below by less than 2 %", []float64{0.9, 0.9, 0.835, 0.835, 0.835}, near, load.Fail},
		{"near, then within", []float64{0.9, 0.9, 0.82, 0.82}, within, load.Pass},
		{"recovery that is interrupted", []float64{1.1, 1.1, 0.5, 1.1, 0.5, 1.1}, over, load.Fail},
		{"over again", []float64{1.1, 1.1, 0.5, 0.5, 1.1, 1.1}, over, load.Fail},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFeed()
			f.heap(c.shares...)
			found := f.Judge(f.now)
			if len(found) != 1 || found[0].Verdict != c.want || !strings.Contains(found[0].Sentence, c.says) {
				t.Fatalf("judge: %+v, want %v that says %q", found, c.want, c.says)
			}
			got := f.sent()
			for threshold, want := range map[string]bool{"warn": c.want == load.Fail, "limit": c.says == over || c.says == "is at its limit"} {
				v, known := got["perfd_target_resource_limit_exceeded shop heap shop-1 "+threshold]
				if known != (len(c.shares) > 1) || v != analysis.Number(want) {
					t.Errorf("exceeded %s = %v, %t, want %t", threshold, v, known, want)
				}
			}
			if v, want := got["perfd_target_resource_limit_ratio shop heap shop-1"], c.shares[len(c.shares)-1]; math.Abs(v-want) > 1e-9 {
				t.Errorf("ratio = %v, want %v", v, want)
			}
		})
	}
}

// Samples out of history are folded: the highest reading counts, and all of them where all are over.
func TestFoldedSamples(t *testing.T) {
	for _, c := range []struct {
		name     string
		count    int
		min, max float64
		samples  int
		want     load.Verdict
	}{
		{"all readings of one sample", 4, 1.1, 1.2, 1, load.Fail},
		{"the highest of one sample", 4, 0.5, 1.2, 1, load.Inconclusive},
		{"the highest of two samples", 4, 0.5, 1.2, 2, load.Fail},
		{"none", 4, 0.5, 0.6, 1, load.Pass},
	} {
		f := newFeed()
		for i := range c.samples {
			from := start.Add(time.Duration(i) * time.Minute)
			f.Sample(load.Sample{Target: "shop", Resource: "heap", Start: from, End: from.Add(time.Minute), Count: c.count, Min: c.min * 2 * gib, Max: c.max * 2 * gib})
		}
		found := f.Judge(start.Add(2 * time.Minute))
		if len(found) != 1 || found[0].Verdict != c.want {
			t.Errorf("%s: %+v, want %v", c.name, found, c.want)
		}
	}
}

func TestSinceIsTheFirstReadingThatExceeded(t *testing.T) {
	f := newFeed()
	f.heap(0.5, 0.5, 0.9, 0.9, 0.9, 1.1, 1.1, 1.1)
	if got := f.Judge(f.now)[0].Since; !got.Equal(start.Add(90 * time.Second)) {
		t.Errorf("over since %v, want %v", got, start.Add(90*time.Second))
	}
	f.heap(0.9, 0.9)
	if got := f.Judge(f.now)[0].Since; !got.Equal(start.Add(45 * time.Second)) {
		t.Errorf("near since %v, want %v", got, start.Add(45*time.Second))
	}
}

func TestNothingIsSaidOfWhatIsNotRead(t *testing.T) {
	f := newFeed()
	f.heap(1.1, 1.1)
	f.read("slow", "", 10)
	f.now = f.now.Add(time.Hour)
	f.read("slow", "", 10)
	f.heap(1.1) // more than 15 minutes after the one before
	found := f.Judge(f.now)
	if len(found) != 2 || found[0].Verdict != load.Inconclusive || found[1].Verdict != load.Fail {
		t.Errorf("an hour later: %+v, want a heap that was read once and slow at its limit", found)
	}
	if found = f.Judge(f.now.Add(15 * time.Minute)); len(found) != 2 {
		t.Errorf("after 15 minutes: %+v, want both", found)
	}
	if found = f.Judge(f.now.Add(16 * time.Minute)); len(found) != 1 || found[0].Resource != "slow" {
		t.Errorf("after 16 minutes: %+v, want the one that is read hourly", found)
	}
	want := map[string]float64{
		"perfd_target_resource_limit shop heap":                 2 * gib,
		"perfd_target_resource_limit shop files":                1000,
		"perfd_target_resource_limit shop slow":                 10,
		"perfd_target_resource_limit_ratio shop slow ":          1,
		"perfd_target_resource_limit_exceeded shop slow  warn":  1,
		"perfd_target_resource_limit_exceeded shop slow  limit": 1,
	}
	if diff := cmp.Diff(want, f.sent()); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if found = f.Judge(f.now.Add(4 * time.Hour)); len(found) != 0 {
		t.Errorf("after four hours: %+v, want nothing", found)
	}
}

func TestOnlyLimitsAreWatched(t *testing.T) {
	f := newFeed()
	f.read("threads", "", 1e6, 1e6)
	f.read("unknown", "", 1e6, 1e6)
	f.read("heap", "", math.NaN(), math.Inf(1))
	f.Sample(load.Sample{Target: "other", Resource: "heap", Start: f.now, End: f.now, Min: 9 * gib, Max: 9 * gib})
	if found := f.Judge(f.now); len(found) != 0 {
		t.Errorf("judge: %+v, want nothing", found)
	}
}

func TestAnotherLimitIsJudgedAnew(t *testing.T) {
	f := newFeed()
	f.heap(1.1, 1.1)
	f.Configure(shop(2*gib, 0.85))
	if found := f.Judge(f.now); len(found) != 1 || found[0].Verdict != load.Fail {
		t.Errorf("the same limit: %+v, want it over", found)
	}
	f.Configure(shop(4*gib, 0.85))
	if found := f.Judge(f.now); len(found) != 0 {
		t.Errorf("a higher limit: %+v, want nothing yet", found)
	}
	f.heap(1.1, 1.1)
	if found := f.Judge(f.now); len(found) != 1 || found[0].Verdict != load.Pass {
		t.Errorf("a higher limit: %+v, want it within", found)
	}
	f.Configure(shop(4*gib, 0.5))
	f.heap(1.1, 1.1)
	if found := f.Judge(f.now); len(found) != 1 || found[0].Verdict != load.Fail || found[0].Limit != 2*gib {
		t.Errorf("an earlier warning: %+v, want it near", found)
	}
	f.Configure(shop(0, 0.5))
	f.heap(1.1, 1.1)
	if found := f.Judge(f.now); len(found) != 0 {
		t.Errorf("no limit: %+v, want nothing", found)
	}
}

func TestMembersAreBounded(t *testing.T) {
	f := newFeed()
	most := f.thresholds.MaxMembers
	f.run(load.RunBegan)
	for i := range most + 10 {
		f.read("files", fmt.Sprint(i), 10)
	}
	if n := len(f.targets["shop"].resources["files"].members); n > most {
		t.Errorf("%d members, want at most %d", n, most)
	}
	for i := range 10 * most { // those that were read more than 15 minutes ago make room
		f.read("files", fmt.Sprint("later-", i), 10)
	}
	if f.targets["shop"].resources["files"].members[fmt.Sprint("later-", 10*most-1)] == nil {
		t.Error("a new member is not watched, although older ones are gone")
	}
	if n := len(f.targets["shop"].runs["r1"].peaks); n != 3*most {
		t.Errorf("%d peaks of a run, want %d", n, 3*most)
	}
	for i := range 2 * f.thresholds.MaxRuns {
		f.Event(load.Event{Kind: load.RunBegan, Run: fmt.Sprint(i), Target: "shop", At: f.now})
		if n := len(f.targets["shop"].runs); n > f.thresholds.MaxRuns {
			t.Fatalf("%d runs, want at most %d", n, f.thresholds.MaxRuns)
		}
	}
}

// A run is judged by what was reached while it was under way, whatever the level is when it ends.
func TestRuns(t *testing.T) {
	for _, c := range []struct {
		name           string
		before, during []float64
		want           load.Verdict
		peak           float64
	}{
		{"within", []float64{0.5}, []float64{0.5, 0.6}, load.Pass, 0.6},
		{"near", []float64{0.5}, []float64{0.9, 0.9, 0.1, 0.1}, load.Pass, 0.9},
		{"over", []float64{0.5}, []float64{1.3, 1.2, 0.1, 0.1}, load.Fail, 1.3},
		{"a burst", []float64{0.5}, []float64{0.5, 1.3, 0.5}, load.Inconclusive, 1.3},
		{"one reading", []float64{0.5}, []float64{0.5}, load.Inconclusive, 0.5},
		{"over before", []float64{1.1, 1.1, 0.5, 0.5}, []float64{0.5, 0.6}, load.Pass, 0.6},
		{"over before and still", []float64{1.1, 1.1}, []float64{1.2}, load.Fail, 1.2},
	} {
		f := newFeed()
		f.heap(c.before...)
		f.run(load.RunBegan)
		f.heap(c.during...)
		parts := f.Run(f.run(load.RunEnded), f.now)
		if len(parts) != 1 || parts[0].Verdict != c.want || float64(parts[0].Value) != c.peak*2*gib || parts[0].Run != "r1" || parts[0].Scenario != "soak" {
			t.Errorf("%s: %+v, want %v with a peak of %v", c.name, parts, c.want, c.peak)
		}
		if parts := f.Run(f.run(load.RunEnded), f.now); len(parts) != 0 {
			t.Errorf("%s: a run that ended before: %+v, want nothing", c.name, parts)
		}
	}
	f := newFeed()
	f.run(load.RunBegan)
	if parts := f.Run(f.run(load.RunEnded), f.now); len(parts) != 0 {
		t.Errorf("without a reading: %+v, want nothing", parts)
	}
}

// TestSentences holds every sentence to a golden file.
func TestSentences(t *testing.T) {
	var out bytes.Buffer
	say := func(name string, found []load.Finding) {
		fmt.Fprintf(&out, "%s\n", name)
		for _, x := range found {
			fmt.Fprintf(&out, "  %s: %s\n", x.Verdict, x.Sentence)
			if x.Needed != "" {
				fmt.Fprintf(&out, "  needed: %s\n", x.Needed)
			}
			fmt.Fprintf(&out, "  evidence: %s\n", analysis.Evidence(x, ", "))
		}
	}
	for _, c := range []struct {
		name, resource, member string
		levels                 []float64
	}{
		{"one reading", "heap", "shop-1", []float64{gib}},
		{"within", "heap", "shop-1", []float64{gib, gib}},
		{"one reading over", "heap", "shop-1", []float64{gib, gib, 3 * gib}},
		{"near", "heap", "shop-1", []float64{1.72 * gib, 1.72 * gib}},
		{"near, a little below the threshold", "heap", "shop-1", []float64{1.72 * gib, 1.72 * gib, 1.68 * gib}},
		{"hardly below the limit", "files", "", []float64{999, 999}},
		{"at the limit", "files", "", []float64{1000, 1000}},
		{"over", "heap", "shop-1", []float64{2.15 * gib, 2.15 * gib}},
		{"far over", "heap", "", []float64{5.8 * gib, 5.8 * gib}},
		{"over, a little below the limit", "files", "", []float64{1010, 1010, 990}},
		{"over, one reading far below", "files", "", []float64{1010, 1010, 12}},
	} {
		f := newFeed()
		f.run(load.RunBegan)
		f.read(c.resource, c.member, c.levels...)
		say(c.name, f.Judge(f.now))
		say("the same, by a run", f.Run(f.run(load.RunEnded), f.now))
	}
	const file = "testdata/sentences.txt"
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("sentences (-want +got):\n%s", diff)
	}
}

// What is sustained is a mean over the time that the resource says, and peaks are none.
func TestASustainedLimitIsAMeanOverItsTime(t *testing.T) {
	const minute = 4 // readings
	newCPU := func() *feed {
		f := &feed{New(), start}
		f.Configure(&analysis.Description{Targets: []analysis.Target{{Name: "shop", Resources: []analysis.Resource{
			{Name: "cpu", Kind: load.ResourceCPU, Limit: 1.6, WarnAt: 0.9, Every: 15 * time.Second, For: 5 * time.Minute},
		}}}})
		return f
	}
	read := func(f *feed, n int, levels ...float64) {
		for i := range n {
			f.read("cpu", "", levels[i%len(levels)])
		}
	}
	verdict := func(f *feed) (load.Verdict, string) {
		list := f.Judge(f.now)
		if len(list) != 1 {
			t.Fatalf("%d findings", len(list))
		}
		return list[0].Verdict, list[0].Sentence
	}
	for _, c := range []struct {
		name    string
		levels  func(f *feed)
		verdict load.Verdict
		says    string
	}{
		{"too short a time", func(f *feed) { read(f, 4*minute, 2) }, load.Inconclusive, "whether cpu of shop is within its limit of 1.6 cores over 5m is not known yet"},
		{"over it from the start", func(f *feed) { read(f, 5*minute, 2) }, load.Fail, "cpu of shop is over its limit: 2 cores over 5m, 125 % of its limit of 1.6 cores"},
		{"peaks of a minute", func(f *feed) { read(f, 40, 0.5); read(f, minute, 2); read(f, 8, 0.5) }, load.Pass, "cpu of shop is within its limit: "},
		{"every other reading at more than twice the limit", func(f *feed) { read(f, 100, 3.6, 0) }, load.Fail, "cpu of shop is over its limit: 1."},
		{"near it", func(f *feed) { read(f, 100, 1.5) }, load.Fail, "cpu of shop is near its limit: 1.5 cores over 5m, 93 % of its limit of 1.6 cores"},
		{"recovered", func(f *feed) { read(f, 100, 2); read(f, 6*minute, 0.5) }, load.Pass, "cpu of shop is within its limit: 0.5 cores over 5m"},
		{"a gap begins anew", func(f *feed) {
			read(f, 100, 2)
			f.now = f.now.Add(time.Hour)
			read(f, minute, 2)
		}, load.Inconclusive, "not known yet"},
	} {
		f := newCPU()
		c.levels(f)
		if v, says := verdict(f); v != c.verdict || !strings.Contains(says, c.says) {
			t.Errorf("%s: %s: %s; want %s: %s", c.name, v, says, c.verdict, c.says)
		}
	}
	f := newCPU()
	read(f, 4*minute, 2)
	if got := f.sent(); len(got) != 1 || got["perfd_target_resource_limit shop cpu"] != 1.6 {
		t.Errorf("before the time is over the metrics are %v, want the limit alone", got)
	}
	e := f.run(load.RunBegan)
	read(f, 10*minute, 2)
	list := f.Run(e, f.now)
	if len(list) != 1 || list[0].Verdict != load.Fail || !strings.Contains(list[0].Sentence, "went over its limit: at most 2 cores over 5m") {
		t.Errorf("the run says %+v, want that it went over", list)
	}
	read(f, 24*60*minute, 1)
	if n := len(f.targets["shop"].resources["cpu"].members[""].window); n > 70 {
		t.Errorf("%d stretches are kept after a day", n)
	}
}
