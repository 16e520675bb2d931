// Package config owns the document: it reads perfd.yaml and the files it names,
// lays environment and flags over it, resolves ${…}, decodes every block into
// the struct of the room that owns it, and checks that the blocks fit together.
//
// Load reports every mistake at once, each with its place, the path of its key,
// what was found and, where known, what to do about it. It starts nothing.
package config

import (
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/feeder"
	"github.com/perfd/perfd/internal/flow"
	"github.com/perfd/perfd/internal/history"
	"github.com/perfd/perfd/internal/maintenance"
	"github.com/perfd/perfd/internal/objective"
	"github.com/perfd/perfd/internal/output"
	"github.com/perfd/perfd/internal/pace"
	"github.com/perfd/perfd/internal/schedule"
	"github.com/perfd/perfd/internal/suite"
	"github.com/perfd/perfd/internal/target"
	"github.com/perfd/perfd/internal/validity"
)

// A Document is one loaded configuration. It is read-only and shared.
type Document struct {
	Vars          block.Entries[*block.Node]           `yaml:"vars" doc:"Values that ${name} stands for anywhere else; text, numbers or booleans."`
	Safety        Safety                               `yaml:"safety" doc:"What perfd may never do, whatever scenarios say; only in the main file."`
	Blackouts     []schedule.Blackout                  `yaml:"blackouts" doc:"Times in which no scenario runs."`
	Maintenance   []maintenance.Config                 `yaml:"maintenance" doc:"Times in which targets are in maintenance: load goes on, and what is measured is not judged."`
	Credentials   block.Entries[credential.Definition] `yaml:"credentials" doc:"What requests prove with who they are, by name; targets and steps choose one."`
	Targets       []target.Config                      `yaml:"targets" doc:"The systems under load."`
	Data          block.Entries[feeder.Config]         `yaml:"data" doc:"Files whose rows flows read: a row an iteration, or one for each step next."`
	Flows         flow.NamedFlows                      `yaml:"flows" doc:"Flows that scenarios use by name."`
	ScenarioFiles []string                             `yaml:"scenario_files" doc:"Patterns of further files, which may hold vars, credentials, targets, data, flows, scenarios and suites."`
	Scenarios     []*Scenario                          `yaml:"scenarios" doc:"What runs."`
	Suites        []suite.Config                       `yaml:"suites" doc:"Scenarios that run together: each at its time, one verdict for all."`

	Scale Scale `yaml:"scale" doc:"A rehearsal: {time: 60, load: 0.02} goes sixty times faster with a fiftieth of the load. Every page and report says so."`

	History history.Config `yaml:"history" doc:"How much perfd remembers of windows, runs and findings; changes count from the next start on."`

	// Outputs are all outputs that may be configured, in the order of the list of kinds.
	Outputs []output.Configured `yaml:"-"`

	// Dir is the folder that every relative path of the configuration starts from: that of the main file.
	Dir     string `yaml:"-"`
	root    *block.Node
	feeders map[string]*feeder.Feeder
	file    string // the main one
	secrets *secrets
	sources *sources

	striking *striking
}

// A Scenario is a named flow on a target with a workload and a schedule.
type Scenario struct {
	Name       block.Text         `yaml:"name" block:"required" doc:"Name of the scenario: letters, digits, _ and -. It is a label of every metric."`
	Test       Test               `yaml:"test" doc:"What the scenario is for: load (default), stress, spike, volume or endurance."`
	Target     block.Text         `yaml:"target" block:"required" doc:"Name of the target that steps send to unless they name another."`
	Labels     map[string]string  `yaml:"labels" doc:"Labels of perfd_scenario_info, such as team."`
	Schedule   schedule.Config    `yaml:"schedule" doc:"When the scenario runs (default: always)."`
	Workload   pace.Config        `yaml:"workload" block:"required" doc:"How much load, and how fast."`
	SetUp      flow.Config        `yaml:"setup" doc:"What is done before a run begins, by one virtual user and measured by nothing; the flow and teardown read the variables that it sets."`
	TearDown   flow.Config        `yaml:"teardown" doc:"What is done after a run, likewise."`
	Flow       flow.Config        `yaml:"flow" block:"required" doc:"The steps that one virtual user performs."`
	Metrics    flow.Metrics       `yaml:"metrics" doc:"Metrics of the scenario's own by name, each counter, rate, gauge or trend: {login_success: rate}, or with more to say of it: {order_size: {type: trend, unit: items}}. Steps set them with add."`
	Validity   validity.Config    `yaml:"validity" doc:"When perfd takes its own measurement for disturbed."`
	Objectives []objective.Config `yaml:"objectives" doc:"What the SLA says of the scenario as a whole; those of single steps are written there."`
	Checks     objective.Checks   `yaml:"checks" doc:"What the checks of the scenario must reach."`
	Twin       *Twin              `yaml:"twin" doc:"An untouched target that gets the same load at the same time, so that a release is told from its environment."`
	Tolerate   bool               `yaml:"tolerate" doc:"Judge this scenario even while a stress or spike scenario runs on its target (default false)."`

	// Blocks are the keys beyond these, in document order: how analyses judge the scenario, and what protocols do
	// otherwise than on its targets.
	Blocks []block.Key `yaml:"-"`
	// Analyses are those blocks, decoded over their defaults, by the name of the analysis.
	Analyses map[string]any `yaml:"-"`

	// At is the scenario's place in the document.
	At *block.Node `yaml:"-"`
	// Judged are all objectives, compiled: the scenario's own, those of its steps, and those of its checks.
	Judged []objective.Objective `yaml:"-"`
	// Program is the compiled flow. Like the document it is immutable.
	Program *flow.Program `yaml:"-"`
	// Fingerprint is equal in two documents where the scenario is unchanged:
	// its resolved block, its targets, the flows it uses, the content of its
	// data files and what safety and blackouts say. Objectives are not part of it:
	// another limit does not change the load.
	Fingerprint string `yaml:"-"`
	// Shape is equal where workload and flow are: what is measured can be compared.
	Shape string `yaml:"-"`

	taken bool // over from the document before
}

// DecodeBlock decodes the keys that every scenario has, strictly, over its
// defaults, and keeps the others.
func (s *Scenario) DecodeBlock(n *block.Node, errs *block.Errors) {
	type plain Scenario
	own, others := block.Split(n, reflect.TypeFor[plain]())
	p := plain{At: n, Test: LoadTest, Blocks: others}
	block.Decode(own, &p, errs)
	*s = Scenario(p)
}

// JSONSchema describes the keys that every scenario has.
func (Scenario) JSONSchema() map[string]any {
	type plain Scenario
	return block.Schema(plain{})
}

// steps lists all that the scenario does.
func (s *Scenario) steps() []*flow.Config { return []*flow.Config{&s.SetUp, &s.Flow, &s.TearDown} }

// Credentials lists the names of the credentials that requests are sent with, those beside the flow last.
func (s *Scenario) Credentials() (names []string) {
	parts := s.Program.Parts()
	for _, p := range slices.Concat([]*flow.Program{s.Program}, parts[flow.SetUp], parts[flow.TearDown], parts[flow.CleanUp]) {
		for _, step := range p.Steps {
			if step.Credential != "" && !slices.Contains(names, step.Credential) {
				names = append(names, step.Credential)
			}
		}
	}
	return names
}

// Limits are the limits on response times that a step of the Program is judged by.
func (s *Scenario) Limits(step int) []time.Duration {
	d := &s.Program.Steps[step]
	return objective.Limits(s.Judged, d.Label, d.Metric != nil)
}

// A Test is what a scenario is for.
type Test string

// The tests.
const (
	LoadTest      Test = "load"
	StressTest    Test = "stress"
	SpikeTest     Test = "spike"
	VolumeTest    Test = "volume"
	EnduranceTest Test = "endurance"
)

var tests = []string{string(LoadTest), string(StressTest), string(SpikeTest), string(VolumeTest), string(EnduranceTest)}

// DecodeBlock accepts the names of the tests.
func (t *Test) DecodeBlock(n *block.Node, errs *block.Errors) {
	if n.Kind != block.String || !slices.Contains(tests, n.Scalar) {
		errs.Add(n.Pos, n.Path, "must be load, stress, spike, volume or endurance, got %s", n.Found())
		return
	}
	*t = Test(n.Scalar)
}

// JSONSchema lists the tests.
func (Test) JSONSchema() map[string]any { return map[string]any{"enum": tests} }

// Scenario returns the scenario of a name, nil where there is none.
func (d *Document) Scenario(name string) *Scenario {
	for _, s := range d.Scenarios {
		if s.Name.S == name {
			return s
		}
	}
	return nil
}

// Suite returns the suite of a name, nil where there is none.
func (d *Document) Suite(name string) *suite.Config {
	for i := range d.Suites {
		if d.Suites[i].Name.S == name {
			return &d.Suites[i]
		}
	}
	return nil
}

// Target returns the target of a name, nil where there is none.
func (d *Document) Target(name string) *target.Config {
	for i := range d.Targets {
		if d.Targets[i].Name.S == name {
			return &d.Targets[i]
		}
	}
	return nil
}

// Credential returns the entry of credentials of a name, nil where there is none.
func (d *Document) Credential(name string) *credential.Definition {
	for i := range d.Credentials {
		if d.Credentials[i].Name.S == name {
			return &d.Credentials[i].Value
		}
	}
	return nil
}

// SuiteNode returns the place of a suite in the document, nil where there is none.
func (d *Document) SuiteNode(name string) *block.Node { return named(d.root.Get("suites"), name) }

// TargetNode returns the place of a target in the document, nil where there is none.
func (d *Document) TargetNode(name string) *block.Node { return named(d.root.Get("targets"), name) }

// KillSwitch returns the path of the file whose existence pauses all load, empty for none.
func (d *Document) KillSwitch() string {
	if f := d.Safety.KillSwitchFile; f != "" && !filepath.IsAbs(f) {
		return filepath.Join(d.Dir, f)
	}
	return d.Safety.KillSwitchFile
}

// Feeder returns the opened data file of an entry of data.
func (d *Document) Feeder(name string) *feeder.Feeder { return d.feeders[name] }

// SecretFiles lists the files that ${file:…} named, in order.
func (d *Document) SecretFiles() []string { return d.secrets.paths() }

// SecretsChanged reports whether one of the SecretFiles holds something else
// than when the document was loaded or, later, than at the last call: one
// change is reported once. It is safe for concurrent use.
func (d *Document) SecretsChanged() bool { return d.secrets.changed() }

// FilesChanged reports whether the main file or one of scenario_files holds something
// else than when the document was loaded or, later, than at the last call, or there
// are others: one change is reported once. It is safe for concurrent use.
func (d *Document) FilesChanged() bool { return d.sources.changed(d.file) }
