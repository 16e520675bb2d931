package pace

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// Replay is a level that was measured.
var Replay = Shape{
	Name: "replay",
	Doc:  "A level that was measured, such as the traffic of a week: out of a CSV file, for ever where the workload has no repeat, or out of a Prometheus while it runs.",
	New: func() Curve {
		return &replay{Factor: 1, Per: block.Duration(time.Second), Missing: Hold, Step: block.Duration(15 * time.Second)}
	},
}

// A Missing says what the level is where no value was measured.
type Missing string

// The rules for values that are missing.
const (
	Hold        Missing = "hold"        // the value before
	Zero        Missing = "zero"        // none
	Interpolate Missing = "interpolate" // on the line from the value before to the one after
)

var missings = []string{string(Hold), string(Zero), string(Interpolate)}

// DecodeBlock accepts the names of the rules.
func (m *Missing) DecodeBlock(n *block.Node, errs *block.Errors) {
	if n.Kind != block.String || !slices.Contains(missings, n.Scalar) {
		errs.Add(n.Pos, n.Path, "must be %s, got %s", list(missings, "or"), n.Found())
		return
	}
	*m = Missing(n.Scalar)
}

// JSONSchema lists the rules.
func (Missing) JSONSchema() map[string]any { return map[string]any{"enum": missings} }

type replay struct {
	File       block.Text                `yaml:"file" doc:"CSV file of times and values: time,value. Times are RFC 3339, Unix seconds or milliseconds, or offsets such as 90, 1m30s or 1d."`
	Prometheus block.Text                `yaml:"prometheus" doc:"Address of a Prometheus, or of what answers like one, whose values are followed instead, such as http://prometheus:9090."`
	Query      block.Text                `yaml:"query" doc:"Its expression for the level: one series, such as sum(rate(http_requests_total[1m]))."`
	Headers    block.Entries[block.Text] `yaml:"headers" doc:"Header fields of the query, such as an Authorization."`
	Step       block.Duration            `yaml:"step" doc:"Time between two values of the query (default 15s, from 1s to 1h)."`
	Offset     block.Duration            `yaml:"offset" doc:"How far back the values are: 7d follows what was measured a week before, 2m what is measured now; at least two steps, and four by default."`
	Max        Target                    `yaml:"max" scale:"load" doc:"The highest level, whatever the query says; required with prometheus."`
	Factor     float64                   `yaml:"factor" scale:"load" doc:"What each value is multiplied with; 1 by default."`
	Per        block.Duration            `yaml:"per" doc:"What values that are rates are per, such as 1m for requests a minute; 1s by default."`
	Missing    Missing                   `yaml:"missing" doc:"The level where a value is missing, and of a file where more than one and a half usual distances lie between two rows: hold, the value before and the default; zero; or interpolate."`

	model  Model
	series series    // nil where the file has mistakes, and of a query
	begins time.Time // its first instant; zero where times are offsets
}

// load reads the file.
func (r *replay) load(c *Checker) {
	path := r.File.S
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.kinds.Dir, path)
	}
	text, err := readSeries(path)
	if err != nil {
		wrapped, ok := errors.AsType[*fs.PathError](err)
		if ok {
			err = wrapped.Err
		}
		c.Fail("file", "%s: %v", r.File.S, err)
		return
	}
	s, begins, wrong := parseSeries(text)
	for _, w := range wrong {
		c.Fail("file", "%s:%d: %s", r.File.S, w.line, w.text).Hint = w.hint
	}
	if wrong == nil {
		by := c.At.Scaling().Time
		for i := range s {
			s[i].at = time.Duration(math.Round(float64(s[i].at) * by))
		}
		r.series, r.begins = s, begins
	}
}

// longestSeries bounds a file, in bytes.
const longestSeries = 32 << 20

func readSeries(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a file")
	case info.Size() > longestSeries:
		return nil, fmt.Errorf("is larger than %d MiB", longestSeries>>20)
	}
	return os.ReadFile(path)
}

func (r *replay) Check(c *Checker) {
	in := c.In(Replay.Name)
	r.model = c.Model
	file, query := in.At.Get("file"), in.At.Get("prometheus")
	switch {
	case file != nil && query != nil:
		in.Fail("prometheus", "is a second source beside file").Hint = "choose one of file and prometheus"
	case query != nil:
		r.checkQuery(in, c)
	case r.File.S != "":
		r.load(in)
	default:
		in.Fail("file", "says not where the level was measured").Hint = "write file: traffic.csv, or prometheus: URL and query: EXPRESSION"
	}
	if file != nil {
		for _, key := range []string{"query", "headers", "step", "offset", "max"} {
			if in.At.Get(key) != nil {
				in.Fail(key, "does not go with file")
			}
		}
	}
	if r.Factor <= 0 || math.IsInf(r.Factor, 0) || math.IsNaN(r.Factor) {
		in.Fail("factor", "must be more than 0, got %v", r.Factor)
	}
	if d := r.Per.D(); d < time.Millisecond || d > 24*time.Hour {
		in.Fail("per", "must be between 1ms and 1d, got %s", r.Per)
	}
	if c.Model == ClosedModel && in.At.Get("per") != nil {
		in.Fail("per", "belongs to rates: the levels of %s are numbers of virtual users", c.Executor)
	}
}

// checkQuery checks what belongs to a query.
func (r *replay) checkQuery(in, c *Checker) {
	u, err := url.Parse(r.Prometheus.S)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		in.Fail("prometheus", "must be an address such as http://prometheus:9090, got %q", r.Prometheus)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		in.Fail("prometheus", "must end with its path, without user and password").Hint = "headers hold an Authorization"
	case c.kinds.Allowed != nil:
		if err := c.kinds.Allowed(u.Hostname()); err != nil {
			in.Fail("prometheus", "%v", err)
		}
	}
	if r.Query.S == "" {
		in.Fail("query", "is required with prometheus")
	}
	if d := r.Step.D(); d < time.Second || d > time.Hour || d%time.Millisecond != 0 {
		in.Fail("step", "must be between 1s and 1h, in whole milliseconds, got %s", r.Step)
	}
	if in.At.Get("offset") == nil {
		r.Offset = 4 * r.Step
	}
	if r.Offset < 2*r.Step || r.Offset.D() > 366*24*time.Hour {
		in.Fail("offset", "must be between two steps (%s) and 366d, got %s", 2*r.Step, r.Offset).Hint = "values of now are not measured yet"
	}
	if in.At.Get("max") == nil {
		in.Fail("max", "is required with prometheus: nobody knows how high its values will be")
	}
	c.Target(r.Max)
	if r.Max.is(c.Model) && r.Max.Level() <= 0 {
		in.Fail("max", "must be more than 0")
	}
	if c.At.Get("repeat") != nil {
		c.Fail("repeat", "does not go with prometheus, which has no end")
	}
}

// feed returns what a query is followed with, nil for a file.
func (r *replay) feed() *Feed {
	if r.Prometheus.S == "" {
		return nil
	}
	f := &Feed{
		Step: r.Step.D(), Offset: r.Offset.D(), Every: min(r.Step.D(), time.Minute),
		missing: r.Missing, scale: r.Factor, most: r.Max.Level(),
	}
	f.Source.Address, f.Source.Query, f.Source.Headers = r.Prometheus, r.Query, r.Headers
	if r.model == OpenModel {
		f.scale /= r.Per.D().Seconds()
	}
	return f
}

// level is the target of a value.
func (r *replay) level(v float64) Target {
	if r.model == ClosedModel {
		return Target{VUs: new(int)}.to(v * r.Factor)
	}
	return Target{Rate: &block.Rate{Per: r.Per.D()}}.to(v * r.Factor / r.Per.D().Seconds())
}

// Stages jumps to each value, which is held until the next, and at the end back to the first. Those of a query are
// not known: it is laid out as the highest level that it may ask for.
func (r *replay) Stages() []Stage {
	if r.Prometheus.S != "" {
		return []Stage{{Target: r.Max}, {Duration: block.Duration(7 * 24 * time.Hour), Target: r.Max}}
	}
	first := r.level(r.series[0].value)
	stages := []Stage{{Target: first}}
	now, held := first.Level(), false // the level at the end of the last stage, which holds it
	for p := range r.series.parts(r.Missing) {
		from, to := r.level(p.from), r.level(p.to)
		flat := from.Level() == to.Level()
		if held && flat && from.Level() == now {
			stages[len(stages)-1].Duration += block.Duration(p.length)
			continue
		}
		if from.Level() != now {
			stages = append(stages, Stage{Target: from})
		}
		stages = append(stages, Stage{Duration: block.Duration(p.length), Target: to})
		now, held = to.Level(), flat
	}
	return append(stages, Stage{Target: first})
}

func (r *replay) laps() *Repeat { return &Repeat{From: 1} }

func (r *replay) Describe(Target) string {
	if r.Prometheus.S != "" {
		text := fmt.Sprintf(", then what %s says of %s ago", r.Prometheus, r.Offset)
		if r.Factor != 1 {
			text += fmt.Sprintf(" × %g", r.Factor)
		}
		return text + fmt.Sprintf(", at most %s", r.Max)
	}
	text := fmt.Sprintf(", then %s of %s", block.Duration(r.series.length()), r.File.S)
	if !r.begins.IsZero() {
		text += " from " + r.begins.UTC().Format("Mon 2006-01-02T15:04:05Z") + " on"
	}
	if r.Factor != 1 {
		text += fmt.Sprintf(" × %g", r.Factor)
	}
	return text
}
