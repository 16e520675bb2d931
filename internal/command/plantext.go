package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/schedule"
)

const (
	planRows   = 10 // of the chart in the terminal
	planLabels = 8  // columns left of it
	planPoints = 240
	planDay    = "Mon 2006-01-02 15:04"
)

// text draws the load in a terminal of some columns.
func (p *planned) text(width int) []byte {
	var w bytes.Buffer
	s := p.scenario
	lines := func(text string) { fmt.Fprintln(&w, strings.Join(wrapped(text, width), "\n")) }
	lines(fmt.Sprintf("%s: %s test on %s", s.Name.S, s.Test, s.Target.S))
	if p.scaled != "" {
		lines(p.scaled)
	}
	facts := [][2]string{{"schedule", s.Schedule.Describe()}, {"workload", s.Played().Describe()}}
	if p.controlled() {
		facts = append(facts, [2]string{"level", "set from outside while it runs, and no file knows to what by now; this is what it begins with"})
	}
	if s.Twin != nil {
		facts = append(facts, [2]string{"twin", s.Twin.Describe(s.Target.S)})
	}
	p.facts(&w, width, facts)
	fmt.Fprintln(&w)
	lines(p.title())
	if len(p.spans) > 0 {
		p.chart(&w, width-planLabels-2)
	}
	fmt.Fprintln(&w)
	p.facts(&w, width, p.sums())
	return w.Bytes()
}

// title says what is drawn.
func (p *planned) title() string {
	return fmt.Sprintf("%s from %s to %s (%s)", p.unit(), p.moment(p.from), p.moment(p.to), p.loc)
}

// moment writes an instant in the schedule's time zone.
func (p *planned) moment(t time.Time) string {
	layout := planDay
	if t.Second() != 0 || t.Nanosecond() != 0 {
		layout += ":05"
	}
	return t.In(p.loc).Format(layout)
}

// facts writes names and what is to say of them, in lines that fit.
func (p *planned) facts(w io.Writer, width int, facts [][2]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range facts {
		for i, line := range wrapped(f[1], width-14) {
			name := f[0]
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(t, "  %-10s\t%s\n", name, line)
		}
	}
	_ = t.Flush() // of a buffer
}

// wrapped breaks a text at spaces.
func wrapped(text string, width int) (lines []string) {
	for line := range strings.SplitSeq(text, "\n") {
		now := ""
		for word := range strings.SplitSeq(line, " ") {
			if now != "" && len([]rune(now))+1+len([]rune(word)) > width {
				lines, now = append(lines, now), ""
			}
			now = strings.TrimPrefix(now+" "+word, " ")
		}
		lines = append(lines, now)
	}
	return lines
}

// chart draws the mean of each column as a bar, and its peak as a shade above.
func (p *planned) chart(w io.Writer, columns int) {
	points := p.points(columns)
	eighths := []rune(" ▁▂▃▄▅▆▇█")
	unit := p.peak / planRows // of a row
	if unit == 0 {
		unit = 1. / planRows
	}
	for row := planRows - 1; row >= 0; row-- {
		label := ""
		switch row {
		case planRows - 1:
			label = amount.Count(planRows * unit)
		case planRows/2 - 1:
			label = amount.Count(planRows / 2 * unit)
		}
		line := make([]rune, columns)
		for i, pt := range points {
			mean, peak := pt.Mean/unit-float64(row), pt.Peak/unit-float64(row)
			part := int(math.Round(8 * min(1, max(0, mean))))
			switch {
			case part > 0:
				line[i] = eighths[part]
			case row == 0 && pt.Mean > 0:
				line[i] = eighths[1] // so that the least load is seen
			case peak > 0.5:
				line[i] = '░'
			default:
				line[i] = ' '
			}
		}
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%*s ┤%s", planLabels, label, string(line)), " "))
	}
	axis, labels := []rune(strings.Repeat("─", columns)), []rune(strings.Repeat(" ", columns))
	for _, t := range p.ticks(columns / 10) {
		at := int(p.place(t.at) * float64(columns))
		axis[at] = '┬'
		if at+len(t.label) <= columns {
			copy(labels[at:], []rune(t.label))
		}
	}
	fmt.Fprintf(w, "%*s ┼%s\n", planLabels, "0", string(axis))
	fmt.Fprintln(w, strings.TrimRight(strings.Repeat(" ", planLabels+2)+string(labels), " "))
	p.bands(w, columns)
}

// bands marks warm-up and blackouts below the chart, where there are any.
func (p *planned) bands(w io.Writer, columns int) {
	band := func(name string, mark rune, all []period) {
		if len(all) == 0 {
			return
		}
		line := []rune(strings.Repeat(" ", columns))
		for _, one := range all {
			last := int(math.Ceil(p.place(one.End) * float64(columns)))
			for i := int(p.place(one.Begin) * float64(columns)); i < min(last, columns); i++ {
				line[i] = mark
			}
		}
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%*s  %s", planLabels, name, string(line)), " "))
	}
	band("warm-up", '~', p.warmUps)
	band("blackout", '×', p.blackouts())
}

func (p *planned) blackouts() (all []period) {
	for _, c := range p.closures {
		all = append(all, period{c.Begin, c.End})
	}
	return all
}

// sums says what the load comes to.
func (p *planned) sums() (facts [][2]string) {
	add := func(name, format string, args ...any) {
		facts = append(facts, [2]string{name, fmt.Sprintf(format, args...)})
	}
	add("runs", "%s", p.runs())
	for i, c := range p.closures {
		if i == 5 && len(p.closures) > 6 {
			add("", "and %d more", len(p.closures)-i)
			break
		}
		name := ""
		if i == 0 {
			name = "blackouts"
		}
		add(name, "%s: %s", c.Name, p.span(c.Begin, c.End))
	}
	if len(p.spans) == 0 {
		return facts
	}
	add("load", "%s", p.load())
	if len(p.warmUps) > 0 {
		add("warm-up", "%s, which no verdict counts", amount.Span(total(p.warmUps)))
	}
	add("VUs", "%s", p.vus())
	return facts
}

// runs lists what is under way.
func (p *planned) runs() string {
	always := p.scenario.Schedule.AlwaysOn()
	switch n := len(p.spans); {
	case n == 0 && p.byOthers():
		return "none: a blackout keeps a run from being started at the beginning"
	case n == 0 && p.next.IsZero():
		return "none: nothing is due"
	case n == 0:
		return "none: the next is due " + p.moment(p.next)
	case n == 1 && always && p.loaded == p.to.Sub(p.from):
		return "always on"
	}
	var lines []string
	for i, span := range p.spans {
		if i == 8 && len(p.spans) > 9 {
			lines = append(lines, fmt.Sprintf("and %d more, the last %s", len(p.spans)-i, p.span(p.spans[len(p.spans)-1].Begin, p.spans[len(p.spans)-1].End)))
			break
		}
		line := p.span(span.Begin, span.End)
		switch {
		case span.Why != "" && span.Why != schedule.Over:
			line += ", ended: " + string(span.Why)
		case span.Why == "" && !always:
			line += ", and goes on"
		}
		lines = append(lines, line)
	}
	if p.byOthers() {
		lines[0] += ", if it is started at the beginning"
	}
	return strings.Join(lines, "\n")
}

// span writes a time: "Sat 2026-11-28 02:00 for 1h".
func (p *planned) span(begin, end time.Time) string {
	return p.moment(begin) + " for " + amount.Span(end.Sub(begin))
}

// load says the sums of iterations and VUs.
func (p *planned) load() string {
	w, n := p.scenario.Workload, p.iterations()
	mean := 0.0
	if p.loaded > 0 {
		mean = p.area / p.loaded.Seconds()
	}
	requests := func(iterations float64) string {
		return fmt.Sprintf("%s iterations = %s requests", amount.Count(math.Round(iterations)), amount.Count(math.Round(iterations*p.scenario.Program.Expected)))
	}
	if w.Open() {
		return fmt.Sprintf("%s; mean %s/s while it runs, peak %s/s", requests(n), amount.Count(mean), amount.Count(p.peak))
	}
	text := fmt.Sprintf("%s VU hours; mean %s VUs while it runs, peak %s", amount.Count(p.area/3600), amount.Count(mean), amount.Count(p.peak))
	switch {
	case !math.IsNaN(n):
		text += fmt.Sprintf("; %s at %s a request", requests(n), block.Duration(p.latency))
	case w.End().Counted():
		text += "; a run is over " + w.End().String()
	}
	return text
}

// vus says how many virtual users are busy.
func (p *planned) vus() string {
	w, n := p.scenario.Workload, p.scenario.Program.Expected
	if p.iteration == 0 {
		if !w.Open() || p.peak == 0 {
			return "--latency=200ms says how many iterations they perform at such a latency"
		}
		longest := float64(w.MostVUs()) / p.peak
		return fmt.Sprintf("%s are enough at the peak for iterations of %s (--latency=200ms says how many are busy at such a latency)", amount.Count(float64(w.MostVUs())), amount.Seconds(longest))
	}
	each := fmt.Sprintf("an iteration of %s requests lasts %s", amount.Count(n), amount.Seconds(p.iteration.Seconds()))
	if n == 1 {
		each = "an iteration lasts " + amount.Seconds(p.iteration.Seconds())
	}
	if !w.Open() {
		return fmt.Sprintf("%s at the peak, %s iterations/s: %s", amount.Count(p.peak), amount.Count(p.peak/p.iteration.Seconds()), each)
	}
	busy, most := p.busy(), float64(w.MostVUs())
	text := fmt.Sprintf("%s busy at the peak of %s/s, %s allowed: %s", amount.Count(busy), amount.Count(p.peak), amount.Count(most), each)
	if busy > most {
		text += fmt.Sprintf("; %s/s are all that they can start, and what is due beyond is dropped", amount.Count(most/p.iteration.Seconds()))
	}
	return text
}

func total(all []period) (sum time.Duration) {
	for _, p := range all {
		sum += p.End.Sub(p.Begin)
	}
	return sum
}

// json writes the plan for programs. Numbers that nobody knows without a latency are left out.
func (p *planned) json() ([]byte, error) {
	type run struct {
		ID string `json:"id"`
		period
		Ends string `json:"ends,omitempty"`
	}
	type closure struct {
		Name string `json:"name"`
		period
	}
	known := func(v float64) *float64 {
		if math.IsNaN(v) {
			return nil
		}
		return &v
	}
	s := p.scenario
	out := struct {
		Scenario   string    `json:"scenario"`
		Executor   string    `json:"executor"`
		Model      string    `json:"model"`
		Controlled bool      `json:"set_from_outside,omitempty"` // what is drawn is what it begins with
		Scaled     string    `json:"scaled,omitempty"`
		Unit       string    `json:"unit"`
		From       time.Time `json:"from"`
		To         time.Time `json:"to"`
		Points     []point   `json:"points"`
		Runs       []run     `json:"runs"`
		WarmUps    []period  `json:"warm_ups"`
		Blackouts  []closure `json:"blackouts"`
		Loaded     float64   `json:"loaded_seconds"`
		Peak       float64   `json:"peak"`
		Iterations *float64  `json:"iterations,omitempty"`
		Requests   *float64  `json:"requests,omitempty"`
		VUSeconds  *float64  `json:"vu_seconds,omitempty"`
		Latency    float64   `json:"latency_seconds,omitempty"`
		Iteration  float64   `json:"iteration_seconds,omitempty"`
		Busy       *float64  `json:"busy_vus,omitempty"`
		MostVUs    int       `json:"max_vus"`
	}{
		Scenario: s.Name.S, Executor: s.Workload.Executor, Model: s.Workload.Model(), Controlled: p.controlled(), Scaled: p.scaled, Unit: p.unit(), From: p.from, To: p.to, Points: p.points(planPoints),
		Runs: []run{}, WarmUps: append([]period{}, p.warmUps...), Blackouts: []closure{}, Loaded: p.loaded.Seconds(), Peak: p.peak,
		Iterations: known(p.iterations()), Requests: known(p.iterations() * s.Program.Expected), Latency: p.latency.Seconds(), Iteration: p.iteration.Seconds(),
		Busy: known(p.busy()), MostVUs: s.Workload.MostVUs(),
	}
	if !s.Workload.Open() {
		out.VUSeconds = &p.area
	}
	for _, span := range p.spans {
		out.Runs = append(out.Runs, run{span.Run.ID, period{span.Begin, span.End}, string(span.Why)})
	}
	for _, c := range p.closures {
		out.Blackouts = append(out.Blackouts, closure{c.Name, period{c.Begin, c.End}})
	}
	text, err := json.MarshalIndent(out, "", "  ")
	return append(text, '\n'), err
}
