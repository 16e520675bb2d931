package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/flow"
)

// A Twin is the twin block of a scenario: an untouched baseline that gets the same load at the same time.
type Twin struct {
	Baseline block.Text                `yaml:"baseline" block:"required" doc:"Name of the target that gets what the scenario's target gets, at the same time: the same arrivals, rows and random choices."`
	Targets  block.Entries[block.Text] `yaml:"targets" doc:"What stands in for the other targets that steps name, if not themselves: {search: search-stable}."`
	Margin   block.Ratio               `yaml:"margin" doc:"The scenario's target must be worse than the baseline by more than this share to be called so (default 5%)."`

	program *flow.Program // with the targets exchanged
}

// The bounds and default of Margin, as those of the comparison of releases.
const (
	defaultTwinMargin = 0.05
	leastTwinMargin   = 0.005
	mostTwinMargin    = 1
)

// twinFields is Twin without its DecodeBlock, which decodes into it.
type twinFields Twin

// DecodeBlock decodes the block over its defaults.
func (t *Twin) DecodeBlock(n *block.Node, errs *block.Errors) {
	if n.Kind == block.String {
		errs.Add(n.Pos, n.Path, "must be a mapping, got %s", n.Found()).Hint = "write twin: {baseline: " + n.Scalar + "}"
		return
	}
	*t = Twin{Margin: defaultTwinMargin}
	block.Decode(n, (*twinFields)(t), errs)
}

// JSONSchema returns the schema of the block.
func (Twin) JSONSchema() map[string]any { return block.Schema(twinFields{}) }

// Validate checks what needs no other part of the document.
func (t *twinFields) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("margin"); n != nil && (t.Margin < leastTwinMargin || t.Margin > mostTwinMargin) {
		errs.Add(n.Pos, n.Path, "must be between 0.5%% and 100%%, got %s", t.Margin).Hint = "equal targets differ by themselves; less than 0.5% is never proven in time"
	}
}

// Describe says what gets the load of a target as well.
func (t *Twin) Describe(target string) string {
	said := []string{t.Baseline.S + " gets all that " + target + " gets, at the same time"}
	for _, e := range t.Targets {
		said = append(said, e.Value.S+" what "+e.Name.S+" gets")
	}
	return strings.Join(said, ", ")
}

// side is the name of the baseline's side of a scenario.
func (t *Twin) side(scenario string) string { return analysis.BaselineName(scenario, t.Baseline.S) }

// exchange returns what stands in for each target on the baseline's side.
func (s *Scenario) exchange() map[string]string {
	to := map[string]string{s.Target.S: s.Twin.Baseline.S}
	for _, e := range s.Twin.Targets {
		to[e.Name.S] = e.Value.S
	}
	return to
}

// compileTwin checks the twin block of a scenario whose flow was compiled with o, and compiles the flow for the
// baseline's side.
func compileTwin(s *Scenario, o flow.Options) {
	t, errs := s.Twin, o.Errors
	if t == nil || t.Baseline.S == "" {
		return // decoding said so
	}
	known := slices.Sorted(maps.Keys(o.Targets))
	check := func(of string, to block.Text) {
		switch {
		case o.Targets[to.S] == nil:
			errs.Add(to.Pos, to.Path, "unknown target %q", to.S).Hint = block.Nearest(to.S, known)
		case to.S == of:
			errs.Add(to.Pos, to.Path, "%s cannot be its own baseline", to.S).Hint = "name a target that runs what is known to be good, such as " + to.S + "-stable"
		}
	}
	check(s.Target.S, t.Baseline)
	used := s.Program.AllTargets()
	for _, e := range t.Targets {
		if e.Name.S == s.Target.S {
			errs.Add(e.Name.Pos, e.Name.Path, "%s is the scenario's target, whose baseline is %s", e.Name.S, t.Baseline.S).Hint = "leave it out"
			continue
		}
		if !slices.Contains(used, e.Name.S) {
			errs.Add(e.Name.Pos, e.Name.Path, "no step of %s goes to %q", s.Name.S, e.Name.S).Hint = block.Nearest(e.Name.S, used)
		}
		check(e.Name.S, e.Value)
	}
	if errs.Len() > 0 {
		return // the flow's mistakes would be said twice
	}
	if own := s.Program.Targets(); !slices.ContainsFunc(own, func(name string) bool { _, ok := s.exchange()[name]; return ok }) {
		errs.Add(t.Baseline.Pos, t.Baseline.Path, "no step of %s goes to %s: both sides would be the same", s.Name.S, s.Target.S).Hint = "name what stands in for others: targets: {" + own[0] + ": …}"
		return
	}
	o.Scenario, o.Target, o.Exchange = t.side(s.Name.S), t.Baseline, s.exchange()
	t.program = flow.Compile(&s.Flow, o)
}

// BaselineSide returns the other side of a scenario with a twin: the same in everything but its name and targets. It is
// nil where there is no twin, and a copy that does not follow what is changed afterwards.
func (s *Scenario) BaselineSide() *Scenario {
	if s.Twin == nil {
		return nil
	}
	b := *s
	b.Name.S = s.Twin.side(s.Name.S)
	b.Target = s.Twin.Baseline
	b.Program = s.Twin.program
	b.Twin = nil
	return &b
}

// sides returns all that makes load: the scenarios, and the baselines' sides of those with twins.
func (d *Document) sides() (all []*Scenario) {
	for _, s := range d.Scenarios {
		all = append(all, s)
		if b := s.BaselineSide(); b != nil {
			all = append(all, b)
		}
	}
	return all
}
