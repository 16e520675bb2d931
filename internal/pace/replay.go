package pace

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// Replay is a level that was measured.
var Replay = Shape{
	Name: "replay",
	Doc:  "A level over time out of a CSV file, such as the traffic of a week; for ever, where the workload has no repeat.",
	New:  func() Curve { return &replay{Factor: 1, Per: block.Duration(time.Second), Missing: Hold} },
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
	File    block.Text     `yaml:"file" block:"required" doc:"CSV file of times and values: time,value. Times are RFC 3339, Unix seconds or milliseconds, or offsets such as 90, 1m30s or 1d."`
	Factor  float64        `yaml:"factor" doc:"What each value is multiplied with; 1 by default."`
	Per     block.Duration `yaml:"per" doc:"What values that are rates are per, such as 1m for requests a minute; 1s by default."`
	Missing Missing        `yaml:"missing" doc:"The level where a value is missing, and where more than one and a half usual distances lie between two rows: hold, the value before and the default; zero; or interpolate."`

	model  Model
	series series    // nil where the file has mistakes
	begins time.Time // its first instant; zero where times are offsets
}

// load reads the file.
func (r *replay) load(c *Checker) {
	r.model = c.Model
	if r.File.S == "" { // decoding said so
		return
	}
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
	r.load(in)
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

// level is the target of a value.
func (r *replay) level(v float64) Target {
	if r.model == ClosedModel {
		return Target{VUs: new(int)}.to(v * r.Factor)
	}
	return Target{Rate: &block.Rate{Per: r.Per.D()}}.to(v * r.Factor / r.Per.D().Seconds())
}

// Stages jumps to each value, which is held until the next, and at the end back to the first.
func (r *replay) Stages() []Stage {
	if len(r.series) == 0 {
		return nil
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
	text := fmt.Sprintf(", then %s of %s", block.Duration(r.series.length()), r.File.S)
	if !r.begins.IsZero() {
		text += " from " + r.begins.UTC().Format("Mon 2006-01-02T15:04:05Z") + " on"
	}
	if r.Factor != 1 {
		text += fmt.Sprintf(" × %g", r.Factor)
	}
	return text
}
