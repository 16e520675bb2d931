package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/feeder"
	"github.com/perfd/perfd/internal/flow"
	"github.com/perfd/perfd/internal/kind"
	"github.com/perfd/perfd/internal/objective"
	"github.com/perfd/perfd/internal/pace"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/schedule"
	"github.com/perfd/perfd/internal/suite"
)

// plainName is what names of scenarios and targets are made of: they are labels and parts of paths.
var plainName = regexp.MustCompile(`^[0-9a-zA-Z_-]+$`)

// longestName bounds the name of a scenario or target, in bytes.
const longestName = 100

// check finds what no block can know by itself: names that are used twice or
// lead nowhere, flows that do not compile, hosts outside the allow-list. Those that
// are about one scenario join the mistakes of decoding it, which are in of.
func check(d *Document, kinds kind.Set, of []block.Errors, errs *block.Errors) {
	names := map[string]block.Pos{}
	for i := range d.Targets {
		checkName("target", d.Targets[i].Name, names, errs)
	}
	names = map[string]block.Pos{}
	for _, s := range d.Scenarios {
		checkName("scenario", s.Name, names, errs)
	}
	for _, o := range d.Outputs {
		o.Config.Check(d.root, d.Dir, errs)
	}
	checkShadows(d, errs)
	checkMaintenance(d, errs)
	checkCredentials(d, kinds.Credentials, errs)
	flows := flowOptions(d, kinds.Protocols, errs)
	workloads := kinds.Workload()
	workloads.Dir, workloads.Allowed = d.Dir, d.Safety.Guard().CheckHost
	sideBySide(len(d.Scenarios), func(i int) {
		s, errs := d.Scenarios[i], &of[i]
		if s.taken {
			return
		}
		compile(s, flows, errs)
		s.Workload.Decode(workloads, errs)
		analysisBlocks(s, kinds, errs)
		checkLabels(s.At.Get("labels"), errs)
		checkSchedule(s, errs)
		checkObjectives(s, errs)
	})
	for i := range of {
		errs.Join(&of[i])
	}
	checkOrder(d, errs)
	checkSuites(d, errs)
}

// checkSuites checks what suites say of scenarios.
func checkSuites(d *Document, errs *block.Errors) {
	scenarios := map[string]suite.Scenario{}
	for _, s := range d.Scenarios {
		of := suite.Scenario{Manual: s.Schedule.Manual, End: s.Workload.End().Within(s.Schedule.Duration.D())}
		if workload, at := s.At.Get("workload"), s.At.Get("schedule"); workload == nil || errs.In(workload) || at != nil && errs.In(at) {
			of = suite.Scenario{Manual: true, End: pace.End{Total: 1}} // what is wrong with it is said there
		}
		scenarios[s.Name.S] = of
	}
	names := map[string]block.Pos{}
	for i := range d.Suites {
		checkName("suite", d.Suites[i].Name, names, errs)
		d.Suites[i].Check(scenarios, errs)
	}
}

// checkOrder checks that what scenarios are after exists and ends, and that each order begins somewhere.
func checkOrder(d *Document, errs *block.Errors) {
	var names []string
	for _, s := range d.Scenarios {
		names = append(names, s.Name.S)
	}
	for _, s := range d.Scenarios {
		at := s.Schedule.After
		if at.S == "" {
			continue
		}
		other := d.Scenario(at.S)
		switch {
		case other == nil:
			errs.Add(at.Pos, at.Path, "unknown scenario %q", at.S).Hint = block.Nearest(at.S, names)
			continue
		case other.Schedule.AlwaysOn():
			errs.Add(at.Pos, at.Path, "runs of %s never end: its schedule is always", at.S).Hint = "an end needs a schedule with cron, every, after or manual"
			continue
		}
		order := []string{s.Name.S}
		for other != nil && !slices.Contains(order, other.Name.S) {
			order = append(order, other.Name.S)
			other = d.Scenario(other.Schedule.After.S)
		}
		if other == s {
			errs.Add(at.Pos, at.Path, "%s would never begin: it is after itself, by way of %s", s.Name.S, strings.Join(append(order[1:], s.Name.S), ", "))
		}
	}
}

func checkName(what string, name block.Text, taken map[string]block.Pos, errs *block.Errors) {
	switch first, twice := taken[name.S]; {
	case name.Path == "": // is missing, decoding said so
	case !plainName.MatchString(name.S) || len(name.S) > longestName:
		errs.Add(name.Pos, name.Path, "a name is made of up to %d letters, digits, _ and -, got %q", longestName, name.S)
	case twice:
		errs.Add(name.Pos, name.Path, "a %s named %q exists already, at %s", what, name.S, first)
	default:
		taken[name.S] = name.Pos
	}
}

// checkShadows reports names of a run that vars would replace before the run could.
func checkShadows(d *Document, errs *block.Errors) {
	vars := map[string]block.Pos{}
	for _, v := range d.Vars {
		vars[v.Name.S] = v.Name.Pos
	}
	shadow := func(what string, name block.Text) {
		if first, ok := vars[name.S]; ok {
			errs.Add(name.Pos, name.Path, "%s %q has the name of an entry of vars, at %s, which ${%s} would mean", what, name.S, first, name.S).Hint = "rename one of the two"
		}
	}
	variables := func(c *flow.Config) {
		for _, name := range c.Variables() {
			shadow("the variable", name)
		}
	}
	for _, f := range d.Data {
		shadow("the data", f.Name)
	}
	for i := range d.Flows {
		f := &d.Flows[i].Value
		for _, p := range f.Params {
			shadow("the param", p)
		}
		variables(&f.Steps)
	}
	for _, s := range d.Scenarios {
		for _, c := range s.steps() {
			variables(c)
		}
	}
}

// openData reads the files of data, so that what is wrong with them is known at load. Of data that is unchanged, the
// rows are those of the document before.
func openData(d, was *Document, errs *block.Errors) map[string]*feeder.Feeder {
	feeders := map[string]*feeder.Feeder{}
	for _, e := range d.Data {
		if !varName.MatchString(e.Name.S) {
			errs.Add(e.Name.Pos, e.Name.Path, "a name in data is made of letters, digits and _, got %q", e.Name.S)
			continue
		}
		if expr.Reserved(e.Name.S) {
			errs.Add(e.Name.Pos, e.Name.Path, "%q cannot be a name in data: it means something in every expression", e.Name.S).Hint = "give it another name"
		}
		if e.Value.File.S == "" {
			continue // is missing, decoding said so
		}
		feeders[e.Name.S] = feeder.Open(e.Name.S, &e.Value, d.Dir, errs)
		if d.sameData(was, e.Name.S, feeders[e.Name.S]) {
			feeders[e.Name.S] = was.feeders[e.Name.S]
		}
	}
	return feeders
}

// checkMaintenance checks that the targets in maintenance are configured.
func checkMaintenance(d *Document, errs *block.Errors) {
	var names []string
	for i := range d.Targets {
		names = append(names, d.Targets[i].Name.S)
	}
	for i := range d.Maintenance {
		for _, t := range d.Maintenance[i].Targets {
			if !slices.Contains(names, t.S) {
				errs.Add(t.Pos, t.Path, "unknown target %q", t.S).Hint = block.Nearest(t.S, names)
			}
		}
	}
}

// flowOptions returns what all flows are compiled with, and checks those that have a name, used or not.
func flowOptions(d *Document, kinds []protocol.Kind, errs *block.Errors) flow.Options {
	guard := d.Safety.Guard()
	o := flow.Options{
		Targets: flowTargets(d, kinds, guard.CheckHost, errs), Flows: d.Flows, Data: d.feeders, Kinds: kinds,
		Dir: d.Dir, Allowed: guard.CheckHost, Credential: d.Credential, Errors: errs,
	}
	for i := range d.Flows {
		flow.Check(d.Flows[i].Name.S, &d.Flows[i].Value, o)
	}
	return o
}

// compile compiles what a scenario does.
func compile(s *Scenario, o flow.Options, errs *block.Errors) {
	o.Scenario, o.Target, o.Errors = s.Name.S, s.Target, errs
	if s.Target.S != "" && o.Targets[s.Target.S] == nil {
		errs.Add(s.Target.Pos, s.Target.Path, "unknown target %q", s.Target.S).Hint = block.Nearest(s.Target.S, slices.Sorted(maps.Keys(o.Targets)))
	}
	o.SetUp, o.TearDown = part(&s.SetUp), part(&s.TearDown)
	o.Metrics = s.Metrics
	flow.CheckMetrics(s.Metrics, s.At, errs)
	o.Targets = scenarioTargets(s, o.Targets, o.Kinds, errs)
	s.Program = flow.Compile(&s.Flow, o)
	compileTwin(s, o)
}

// part returns a part of a scenario beside its flow, nil for none.
func part(c *flow.Config) *flow.Config {
	if c.At == nil {
		return nil
	}
	return c
}

var (
	labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	// ownLabels are those that perfd_scenario_info has already, or that Prometheus adds.
	ownLabels = []string{"scenario", "test", "executor", "model", "job", "instance"}
)

func checkLabels(labels *block.Node, errs *block.Errors) {
	if labels == nil {
		return
	}
	for _, k := range labels.Keys {
		switch {
		case slices.Contains(ownLabels, k.Name):
			errs.Add(k.Pos, k.Value.Path, "label %q is perfd's own", k.Name).Hint = "own are " + strings.Join(ownLabels, ", ")
		case !labelName.MatchString(k.Name) || strings.HasPrefix(k.Name, "__"):
			errs.Add(k.Pos, k.Value.Path, "a label is made of letters, digits and _ and does not begin with a digit or __, got %q", k.Name)
		}
	}
}

// checkObjectives compiles the objectives of a scenario and its steps, and checks
// what they cannot know by themselves.
func checkObjectives(s *Scenario, errs *block.Errors) {
	names := map[string]block.Pos{}
	var checks []string
	for _, step := range s.Program.Steps {
		checks = append(checks, step.Checks...)
	}
	compile := func(list []objective.Config, at objective.Place, checks []string) {
		for _, c := range list {
			first, twice := names[c.Name.S]
			switch {
			case c.Name.S == "" || c.That.S == "": // decoding said so
				continue
			case twice:
				errs.Add(c.Name.Pos, c.Name.Path, "scenario %s has an objective named %q already, at %s", s.Name, c.Name, first).Hint = "objectives of a scenario and its steps need names of their own; a flow that is used twice has those of its steps twice"
				continue
			case len(c.Name.S) > longestName:
				errs.Add(c.Name.Pos, c.Name.Path, "a name has at most %d bytes, got %d", longestName, len(c.Name.S))
				continue
			}
			o := c.Compile(at)
			if o.Kind == "" { // decoding said why
				continue
			}
			if o.Metric && !checkMetric(s, at.Step, c, &o, errs) {
				continue
			}
			names[c.Name.S] = c.Name.Pos
			if o.Check != "" && !slices.Contains(checks, o.Check) {
				errs.Add(c.That.Pos, c.That.Path, "there is no check named %q here", o.Check).Hint = block.Nearest(o.Check, checks)
			}
			if o.Kind == objective.CheckRatio && o.Check == "" && len(checks) == 0 {
				errs.Add(c.That.Pos, c.That.Path, "there is no check here whose ratio could be judged")
			}
			s.Judged = append(s.Judged, o)
		}
	}
	compile(s.Objectives, objective.Place{Scenario: s.Name.S, Target: s.Target.S, PerIteration: s.Program.Requests}, checks)
	for _, step := range s.Program.Steps {
		compile(step.Objectives, objective.Place{
			Scenario: s.Name.S, Step: step.Label, Target: step.Target, PerIteration: step.PerIteration,
		}, step.Checks)
	}
	at := s.At.Get("checks")
	if at == nil || errs.In(at) {
		return
	}
	if len(checks) == 0 {
		errs.Add(at.Pos, at.Path, "there is no check here that could reach it").Hint = "checks stand in steps: checks: {has a token: json.token != nil}"
	}
	var all []objective.Config
	for i, name := range checks {
		own := slices.ContainsFunc(s.Judged, func(o objective.Objective) bool { return o.Kind == objective.CheckRatio && o.Check == name })
		if own || slices.Contains(checks[:i], name) {
			continue
		}
		c := s.Checks.Of(name)
		c.Name.Pos, c.Name.Path = at.Pos, at.Path
		all = append(all, c)
	}
	compile(all, objective.Place{Scenario: s.Name.S, Target: s.Target.S, PerIteration: s.Program.Requests}, checks)
}

// checkMetric checks that the metric of an objective is one of the scenario's, of a type that the objective is about, or
// what is timed of the messages of a step; step is whose objective it is, empty for the scenario's own.
func checkMetric(s *Scenario, step string, c objective.Config, o *objective.Objective, errs *block.Errors) bool {
	known := objective.Values()
	if slices.ContainsFunc(s.Program.Steps, func(d flow.StepDesc) bool { return d.Metric != nil && d.Metric.Step != "" && d.Label == o.Step }) {
		if o.Kind != objective.Latency {
			errs.Add(c.That.Pos, c.That.Path, "what is timed of messages has percentiles").Hint = "write p(95) of message_gap < 1s"
		}
		return o.Kind == objective.Latency
	}
	if t := strings.TrimPrefix(o.Step, step+" "); objective.OfMessages(t) {
		e := errs.Add(c.That.Pos, c.That.Path, "there is no %s here", t)
		if e.Hint = "it is of the messages of one step: write it among the objectives of the step that opens the stream"; step != "" {
			e.Hint = "it is of the messages of the step that opens the stream"
		}
		return false
	}
	for _, m := range s.Metrics {
		known = append(known, m.Name.S)
		if m.Name.S != o.Step {
			continue
		}
		if m.Value.Type.S != o.MetricType() {
			e := errs.Add(c.That.Pos, c.That.Path, "%s is a %s", o.Step, m.Value.Type)
			e.Hint = "objectives are about a rate, login_success > 99%, and a trend, p(95) of processing_time < 2s"
			return false
		}
		if o.Kind != objective.Latency || o.Limit == 0 { // decoding said what is wrong
			return true
		}
		problem, hint := o.In(m.Value.UnitOfTrend())
		if problem != "" {
			errs.Add(c.That.Pos, c.That.Path, "%s", problem).Hint = hint
		}
		return problem == ""
	}
	errs.Add(c.That.Pos, c.That.Path, "unknown value %q", o.Step).Hint = block.Nearest(o.Step, known)
	return false
}

// checkSchedule checks that schedule and workload fit, where both are right by themselves.
func checkSchedule(s *Scenario, errs *block.Errors) {
	workload, at := s.At.Get("workload"), s.At.Get("schedule")
	if workload == nil || errs.In(workload) || at != nil && errs.In(at) {
		return
	}
	if at == nil {
		at = s.At
	}
	s.Schedule.Check(at, schedule.Workload{Cycle: s.Workload.Cycle(), End: s.Workload.End()}, errs)
}
