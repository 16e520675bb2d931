package command

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/pace"
	"github.com/perfd/perfd/internal/schedule"
)

// PlanOptions of Plan.
type PlanOptions struct {
	Scenario string
	From     time.Time
	For      time.Duration // how much is drawn; 0: the whole of a run that the clock does not begin, 24h of others
	Latency  time.Duration // of a request, for the number of VUs; 0 where nobody says
	Format   string        // text, json or svg
	Width    int           // of the text in columns
}

// PlanFormats are the formats of Plan.
var PlanFormats = []string{"text", "json", "svg"}

// Bounds of the options, and of the scales of a rehearsal.
const (
	MostTimeScale = config.MostTimeScale
	MostLoadScale = config.MostLoadScale

	LongestPlan   = 366 * 24 * time.Hour
	NarrowestPlan = 40
)

// Plan draws the load of a scenario over time, schedule and blackouts included, and says
// what it comes to. It starts nothing. The error holds every mistake of the configuration.
func Plan(opts app.Options, o PlanOptions, w io.Writer) error {
	doc, err := app.Load(opts)
	if err != nil {
		return err
	}
	s, err := scenarioNamed(doc, o.Scenario)
	if err != nil {
		return err
	}
	p, err := newPlan(doc, s, o)
	if err != nil {
		return fmt.Errorf("scenario %s: %w", o.Scenario, err)
	}
	var out []byte
	switch o.Format {
	case "json":
		out, err = p.json()
	case "svg":
		out = p.svg()
	default:
		out = p.text(o.Width)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, doc.Strike(string(out)))
	return err
}

// A planned is the load of a scenario between two instants.
type planned struct {
	scenario  *config.Scenario
	scaled    string // by what, empty for nothing
	plan      pace.Plan
	loc       *time.Location
	from, to  time.Time
	latency   time.Duration
	iteration time.Duration // how long one lasts at that latency; 0 where nobody says
	spans     []schedule.Span
	closures  []schedule.Closure
	warmUps   []period
	next      time.Time // when a run is due, where none is in this time; zero for never

	area   float64 // iterations or VU seconds
	peak   float64
	loaded time.Duration // with a run under way
}

// byOthers reports whether something else than the clock begins runs: people, or the end of another scenario.
func (p *planned) byOthers() bool {
	return p.scenario.Schedule.Manual || p.scenario.Schedule.After.S != ""
}

// controlled reports whether the level is set from outside.
func (p *planned) controlled() bool {
	_, ok := p.plan.(pace.Controlled)
	return ok
}

// A period is a part of the time drawn.
type period struct {
	Begin time.Time `json:"begin"`
	End   time.Time `json:"end"`
}

func newPlan(doc *config.Document, s *config.Scenario, o PlanOptions) (*planned, error) {
	p := &planned{scenario: s, scaled: doc.Scale.String(), from: o.From, latency: o.Latency, iteration: iterationTime(s, o.Latency)}
	var err error
	if p.plan, err = pace.New(s.Workload, s.Name.S); err != nil {
		return nil, err
	}
	if pace.FeedOf(p.plan) != nil {
		return nil, fmt.Errorf("what its workload follows is measured while it runs, nobody knows it beforehand: %s", s.Workload.Describe())
	}
	blackouts, err := schedule.NewBlackouts(doc.Blackouts)
	if err != nil {
		return nil, err
	}
	end := s.Workload.End()
	sched, err := schedule.New(s.Schedule, schedule.Options{
		Scenario: s.Name.S, Test: string(s.Test), Blackouts: blackouts, Workload: schedule.Workload{Cycle: s.Workload.Cycle(), End: end},
	})
	if err != nil {
		return nil, err
	}
	p.loc = sched.Location()
	p.from = p.from.In(p.loc)
	lasts := p.batchTime()
	length := o.For
	if length == 0 {
		length = 24 * time.Hour
		if run := end.Within(s.Schedule.Duration.D()).Time; p.byOthers() && run > 0 {
			length = run
			if lasts > 0 {
				length = min(length, lasts)
			}
		}
	}
	p.to = p.from.Add(length)
	p.closures = blackouts.Closures(p.from, p.to)
	if p.spans, err = sched.Spans(p.from, p.to, lasts); err != nil {
		return nil, err
	}
	if len(p.spans) == 0 {
		p.next = sched.Next(p.to)
	}
	for _, span := range p.spans {
		if warm := (period{later(span.Begin, p.from), sooner(span.Begin.Add(s.Workload.WarmUp.D()), span.End)}); warm.Begin.Before(warm.End) {
			p.warmUps = append(p.warmUps, warm)
		}
	}
	p.area, p.peak, p.loaded = p.between(p.from, p.to)
	return p, nil
}

// iterationTime is how long an iteration lasts in the mean if each request takes a
// latency, one after another; 0 where the latency is not known.
func iterationTime(s *config.Scenario, latency time.Duration) time.Duration {
	if latency == 0 {
		return 0
	}
	return max(s.Program.Pace, time.Duration(s.Program.Expected*float64(latency))+s.Program.Think)
}

// batchTime is when a run that ends after a number of iterations is done with them; 0 for
// other runs, and where the latency is not known.
func (p *planned) batchTime() time.Duration {
	end := p.scenario.Workload.End()
	rounds := float64(end.PerVU)
	if end.Total > 0 {
		rounds = math.Ceil(float64(end.Total) / float64(p.scenario.Workload.MostVUs()))
	}
	return time.Duration(min(rounds*float64(p.iteration), math.MaxInt64/4))
}

// between returns the integral and the peak of the level from one instant to another,
// and for how long a run is under way.
func (p *planned) between(from, to time.Time) (area, peak float64, loaded time.Duration) {
	for _, span := range p.spans {
		begin, end := later(from, span.Begin), sooner(to, span.End)
		if !begin.Before(end) {
			continue
		}
		a, most := pace.Between(p.plan, begin.Sub(span.Run.Zero), end.Sub(span.Run.Zero))
		area, peak, loaded = area+a, max(peak, most), loaded+end.Sub(begin)
	}
	return area, peak, loaded
}

// A point is the level over one of the parts that the time is divided into.
type point struct {
	At   time.Time `json:"time"` // its beginning
	Mean float64   `json:"mean"`
	Peak float64   `json:"peak"`
}

// points divides the time into n parts.
func (p *planned) points(n int) []point {
	all := make([]point, n)
	for i := range all {
		begin, end := p.instant(float64(i)/float64(n)), p.instant(float64(i+1)/float64(n))
		area, peak, _ := p.between(begin, end)
		all[i] = point{begin, area / end.Sub(begin).Seconds(), peak}
	}
	return all
}

// instant is that of a share of the time.
func (p *planned) instant(share float64) time.Time {
	return p.from.Add(time.Duration(share * float64(p.to.Sub(p.from))))
}

// place is the share of the time that is over at an instant.
func (p *planned) place(t time.Time) float64 {
	return float64(t.Sub(p.from)) / float64(p.to.Sub(p.from))
}

// iterations is how many are planned; NaN where the latency decides and is not known.
func (p *planned) iterations() float64 {
	switch end := p.scenario.Workload.End(); {
	case p.scenario.Workload.Open():
		return p.area
	case p.iteration == 0:
		return math.NaN()
	case end.Total > 0:
		return min(p.area/p.iteration.Seconds(), float64(end.Total)*float64(len(p.spans)))
	default:
		return p.area / p.iteration.Seconds()
	}
}

// busy is the number of VUs that are busy at the peak, by Little's law: the rate times
// the time that an iteration lasts (Little, "A Proof for the Queuing Formula L = λW",
// Operations Research 9(3), 1961). It is NaN where the latency is not known, and all of
// them in the closed model.
func (p *planned) busy() float64 {
	switch {
	case !p.scenario.Workload.Open():
		return p.peak
	case p.iteration == 0:
		return math.NaN()
	}
	return math.Ceil(p.peak*p.iteration.Seconds() - 1e-9)
}

// unit is that of the level.
func (p *planned) unit() string {
	if p.scenario.Workload.Open() {
		return "iterations/s"
	}
	return "VUs"
}

// A tick is a mark on the time axis.
type tick struct {
	at    time.Time
	label string
}

// ticks returns round times of the schedule's time zone, at most n of them.
func (p *planned) ticks(n int) (all []tick) {
	steps := []time.Duration{
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 3 * time.Hour, 4 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	}
	midnight := func(t time.Time) time.Time {
		y, m, d := t.Date()
		return time.Date(y, m, d, 0, 0, 0, 0, p.loc)
	}
	length := p.to.Sub(p.from)
	for _, step := range steps {
		if length/step > time.Duration(n-1) {
			continue
		}
		layout := "15:04"
		if step < time.Minute {
			layout = "15:04:05"
		}
		// Days are begun anew, for the sake of those that have not 24 hours.
		for day := midnight(p.from); day.Before(p.to); day = day.AddDate(0, 0, 1) {
			for t := day; t.Before(day.AddDate(0, 0, 1)) && t.Before(p.to); t = t.Add(step) {
				switch {
				case t.Before(p.from):
				case t.Equal(day) && step >= time.Minute:
					all = append(all, tick{t, t.Format("Jan 02")})
				default:
					all = append(all, tick{t, t.Format(layout)})
				}
			}
		}
		return all
	}
	days := int(math.Ceil(length.Hours() / 24 / float64(n-1)))
	for t := midnight(p.from); t.Before(p.to); t = t.AddDate(0, 0, days) {
		if !t.Before(p.from) {
			all = append(all, tick{t, t.Format("Jan 02")})
		}
	}
	return all
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func sooner(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
