package flow

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/feeder"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/objective"
	"github.com/perfd/perfd/internal/protocol"
)

// A Target is what flows need to know of a target.
type Target struct {
	Base     block.Text            // the target's url
	Defaults func(kind string) any // returns the target's block of a protocol, nil for none
	// Credentials names the credential of requests to the target, empty for none.
	Credentials string
}

// Options are what a flow is compiled with.
type Options struct {
	Scenario string
	Target   block.Text         // name of the scenario's target
	Targets  map[string]*Target // by name
	Exchange map[string]string  // names of targets by those that they stand in for; nil for none
	SetUp    *Config            // of a run, nil for none
	TearDown *Config            // likewise
	Flows    NamedFlows
	Metrics  Metrics
	Data     map[string]*feeder.Feeder // by name
	Kinds    []protocol.Kind
	Dir      string                  // folder that relative paths start from
	Allowed  func(host string) error // as in protocol.Compiler
	// Credential is as in protocol.Compiler.
	Credential func(name string) *credential.Definition
	Errors     *block.Errors // takes all mistakes
}

// A StepDesc describes one step of a Program.
type StepDesc struct {
	Label, Target, Protocol string
	Garbage                 bool // as of the protocol's kind
	// Credential names the credential of the requests, empty for none.
	Credential string
	Checks     []string
	Tags       map[string]string // labels of perfd_step_info
	// Objectives are the objectives of the step alone.
	Objectives []objective.Config
	// PerIteration is how often an iteration performs the step on its unconditional path.
	PerIteration int
	// Expected is how often an iteration performs the step in the mean: by chance and weight. A condition is taken to
	// hold and not to hold, and a loop whose number of passes is not known to make one.
	Expected float64
	// Group says that this is no step but a group of steps, whose results are no requests: what they took as a whole.
	Group bool
	// Metric is the metric that is described instead of a step, nil for none. It is a Group too.
	Metric *load.Metric
	// Messages says that the step opens streams, whose messages are counted. What is timed of them are steps of their
	// own, behind it, as metrics are.
	Messages bool
	// Retries says that failed requests may be attempted again.
	Retries bool
	// Span names the step's spans; nil if its protocol has no conventions for them.
	Span protocol.SpanMapper
}

// A Program is a compiled flow: immutable and shared by all VUs.
type Program struct {
	Steps []StepDesc
	// Requests is the number of requests of an iteration on its unconditional path, at least 1.
	Requests int
	// Expected is the number of requests of an iteration in the mean, as StepDesc's.
	Expected float64
	// Think is the sum of the mean think times of an iteration.
	Think time.Duration
	// Pace is how long an iteration takes at least, 0 for no bound.
	Pace time.Duration
	// SetUp is performed before a run begins and TearDown after it, by one VU; nil for none. CleanUps are what removes
	// what iterations created.
	SetUp, TearDown *Program
	CleanUps        []*Program
	// CleanUpWithin bounds the time that CleanUps take after a run.
	CleanUpWithin time.Duration
	// Unset are the metrics that nothing gives values.
	Unset []block.Text
	// Outline is the flow as lines for people to read.
	Outline []Line

	part    string // of the scenario, empty for its flow
	code    []op
	steps   []step // by StepDesc; of a group all but its index is zero
	targets []string
	feeds   []*feed
	slots   int
	sets    []int // the slots that it sets
	loops   int   // how many there are, each with a state in the VU
	onces   int   // likewise
	// groupSteps holds, for each group, its place in Steps.
	groupSteps []int
	// constructs says that VUs need a state besides their place in the code.
	constructs bool
	kept       []bool // by slot: the variable stays from iteration to iteration
}

// A Line is one line of a flow's outline.
type Line struct {
	Depth int // of nesting, from 0
	Text  string
	Step  int // in Steps; -1 for a construct
	// Expected is how many requests an iteration makes there in the mean, as StepDesc's.
	Expected float64
}

// Targets returns the names of the targets of all steps, the first step's first.
func (p *Program) Targets() []string { return slices.Clone(p.targets) }

// Parts returns the programs that are performed beside the flow, by what they are.
func (p *Program) Parts() map[string][]*Program {
	parts := map[string][]*Program{}
	if p.SetUp != nil {
		parts[SetUp] = []*Program{p.SetUp}
	}
	if p.TearDown != nil {
		parts[TearDown] = []*Program{p.TearDown}
	}
	if p.CleanUps != nil {
		parts[CleanUp] = p.CleanUps
	}
	return parts
}

// AllTargets returns the names of the targets of the flow and of what is performed beside it, each once.
func (p *Program) AllTargets() []string {
	all := p.Targets()
	for _, programs := range p.Parts() {
		for _, part := range programs {
			for _, name := range part.targets {
				if !slices.Contains(all, name) {
					all = append(all, name)
				}
			}
		}
	}
	return all
}

type assignment struct {
	slot  int
	value *expr.Template
	json  *expr.JSON // instead of value, a list or a mapping
}

type step struct {
	index    int
	target   int
	do       protocol.Step
	judge    protocol.Judge
	expect   *expr.Condition
	checks   []check
	extracts []extract
	keep     expr.Keep
	timeout  time.Duration
	stop     bool // a failure stops the iteration
	retry    *Retry
	adds     []*addition
}

// A check is a named condition of a step. One that reads what its own step
// extracts fails if the extraction failed.
type check struct {
	holds     *expr.Condition
	extracted bool // holds reads what the step extracts
}

type extract struct {
	slot int
	from *expr.Extraction
}

// Compile compiles a flow. Mistakes go to o.Errors; with any, the program must not be run.
func Compile(c *Config, o Options) *Program {
	root := expr.NewSymbols(nil)
	k := &compiler{o: o, p: &Program{}, root: root, variables: root, labels: map[string]block.Pos{}, added: make([]bool, len(o.Metrics))}
	declareData(root, o.Data)
	if o.SetUp != nil {
		// What setup sets is read by the flow and by teardown; what the flow sets is its own.
		k.p.SetUp, root = k.aside(o.SetUp, SetUp, root)
	}
	k.variables = expr.NewSymbols(root)
	k.body(c, place{symbols: k.variables, times: 1, expected: 1})
	if o.TearDown != nil {
		k.p.TearDown, _ = k.aside(o.TearDown, TearDown, root)
	}
	k.p.Requests = max(1, k.p.Requests)
	return k.p
}

// body compiles a whole program.
func (k *compiler) body(c *Config, in place) {
	requests := len(c.Requests())
	k.p.Steps, k.p.steps = make([]StepDesc, 0, requests), make([]step, 0, requests)
	k.p.code, k.p.Outline = make([]op, 0, len(c.Items)), make([]Line, 0, len(c.Items))
	reads := k.root.ReadsOf(func() { k.items(c, in) })
	k.feeds(reads)
	k.p.slots, k.p.sets = k.root.Slots(), k.sets
	k.keep()
	k.p.constructs = k.p.Pace > 0 || slices.ContainsFunc(k.p.code, needsState) ||
		slices.ContainsFunc(k.p.steps, func(s step) bool { return s.retry != nil })
	if !slices.ContainsFunc(k.p.Steps, func(s StepDesc) bool { return !s.Group }) && c.At != nil && k.o.Errors.Len() == 0 {
		k.o.Errors.Add(c.At.Pos, c.At.Path, "makes no request")
	}
	if k.part == "" {
		k.metrics()
	}
	k.link()
}

// declareData declares what rows are read by.
func declareData(root *expr.Symbols, data map[string]*feeder.Feeder) {
	for name, f := range data {
		root.DeclareRow(name, f.Columns)
	}
}

// Check compiles a named flow by itself, so that a flow that nothing uses is checked too.
func Check(name string, n *Named, o Options) {
	root := expr.NewSymbols(nil)
	k := &compiler{o: o, p: &Program{}, root: root, variables: root, labels: map[string]block.Pos{}, using: []string{name}, alone: true}
	declareData(root, o.Data)
	inner := expr.NewSymbols(root)
	for _, p := range n.Params {
		mayBeVariable(p, o.Errors)
		inner.Declare(p.S, expr.Any)
	}
	k.items(&n.Steps, place{prefix: name + "/", symbols: inner, times: 1, expected: 1})
}

// identifier is what expressions can read by name.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// mayBeVariable reports a name that no expression could read as a variable.
func mayBeVariable(name block.Text, errs *block.Errors) {
	if expr.Reserved(name.S) {
		errs.Add(name.Pos, name.Path, "%q cannot be a variable: it means something in every expression", name.S).Hint = "give it another name"
	} else if !identifier.MatchString(name.S) {
		errs.Add(name.Pos, name.Path, "the name of a variable is made of letters, digits and _, got %q", name.S)
	}
}

type compiler struct {
	o         Options
	p         *Program
	root      *expr.Symbols // where data is declared
	part      string        // of the scenario, empty for its flow
	variables *expr.Symbols // where extracted values are declared: visible to all later steps
	labels    map[string]block.Pos
	using     []string // the named flows being compiled, outermost first
	sets      []int    // the slots of variables, in the order in which steps set them
	// metricSteps holds, for each metric, its place in the steps.
	metricSteps []int
	onceSets    []int  // those of once_per_vu
	alone       bool   // a named flow is compiled by itself
	added       []bool // by metric: something sets it
	branch      bool   // in a branch of parallel
}

// A place is where an entry of a flow stands.
type place struct {
	prefix  string        // of the labels of steps
	symbols *expr.Symbols // that the entry reads
	depth   int           // in the outline
	// times is how often an iteration comes there for certain, and expected how often in the mean.
	times    int
	expected float64
	inner    bool // within a construct or a named flow
	// passes are the names of the variables of the loops around it, which hide those of the flow.
	passes []string
}

// under returns the place within a construct, where an iteration comes with a probability.
func (p place) under(share float64) place {
	p.depth++
	p.inner = true
	p.expected *= share
	if share < 1 {
		p.times = 0
	}
	return p
}

func (k *compiler) items(c *Config, in place) {
	for i := range c.Items {
		item := &c.Items[i]
		item.compile(k, item.At, in)
	}
}

// emit appends an instruction and returns its place in the code.
func (k *compiler) emit(o op) int {
	k.p.code = append(k.p.code, o)
	return len(k.p.code) - 1
}

// here is the place of the next instruction.
func (k *compiler) here() int { return len(k.p.code) }

// land makes the instruction at a place jump to the next one.
func (k *compiler) land(at int) { k.p.code[at].to = len(k.p.code) }

// line appends a line to the outline and returns a function that adds to it the
// requests of the steps that were compiled since.
func (k *compiler) line(in place, format string, args ...any) (done func()) {
	at, from := len(k.p.Outline), len(k.p.Steps)
	k.p.Outline = append(k.p.Outline, Line{Depth: in.depth, Text: fmt.Sprintf(format, args...), Step: -1})
	return func() {
		for _, s := range k.p.Steps[from:] {
			k.p.Outline[at].Expected += s.Expected
		}
	}
}

// assign declares a variable and notes that a step sets it.
func (k *compiler) assign(name block.Text, t expr.Type, in place) (slot int) {
	mayBeVariable(name, k.o.Errors)
	if slices.Contains(in.passes, name.S) {
		k.o.Errors.Add(name.Pos, name.Path, "%q is a variable of the loop, which each pass sets", name.S).Hint = "give it another name"
	}
	slot = k.variables.Declare(name.S, t)
	k.sets = append(k.sets, slot)
	return slot
}

// keep marks the variables that stay from iteration to iteration.
func (k *compiler) keep() {
	if len(k.onceSets) == 0 {
		return
	}
	k.p.kept = make([]bool, k.p.slots)
	for _, slot := range k.onceSets {
		k.p.kept[slot] = true
	}
}

func (*Use) inside() []*Config { return nil }

func (u *Use) compile(k *compiler, at *block.Node, in place) {
	s := in.symbols
	if u.Use.S == "" {
		if u.Use.Path != "" {
			k.o.Errors.Add(u.Use.Pos, u.Use.Path, "must name a flow")
		}
		return
	}
	var names []string
	var named *Named
	for i := range k.o.Flows {
		f := &k.o.Flows[i]
		names = append(names, f.Name.S)
		if f.Name.S == u.Use.S {
			named = &f.Value
		}
	}
	if named == nil {
		k.o.Errors.Add(u.Use.Pos, u.Use.Path, "unknown flow %q", u.Use.S).Hint = block.Nearest(u.Use.S, names)
		return
	}
	if slices.Contains(k.using, u.Use.S) {
		k.o.Errors.Add(u.Use.Pos, u.Use.Path, "flow %q uses itself: %s", u.Use.S, strings.Join(append(k.using, u.Use.S), " → "))
		return
	}
	inner := expr.NewSymbols(k.variables)
	var params []string
	for _, p := range named.Params {
		params = append(params, p.S)
	}
	given := map[string]bool{}
	for _, w := range u.With {
		if !slices.Contains(params, w.Name.S) {
			k.o.Errors.Add(w.Name.Pos, w.Name.Path, "flow %q has no param %q", u.Use.S, w.Name.S).Hint = block.Nearest(w.Name.S, params)
			continue
		}
		given[w.Name.S] = true
		if w.Value.Kind == block.List || w.Value.Kind == block.Map {
			k.o.Errors.Add(w.Value.Pos, w.Value.Path, "must be text or one ${…}, got %s", w.Value.Found())
			continue
		}
		value := expr.ParseScalar(w.Value, s, k.o.Errors)
		slot := inner.Declare(w.Name.S, value.Type())
		k.emit(op{code: opSet, set: &assignment{slot: slot, value: value}})
	}
	for _, p := range params {
		if !given[p] {
			k.o.Errors.Add(at.Pos, at.Path, "flow %q needs a value for %q", u.Use.S, p).Hint = "write with: {" + p + ": …}"
			inner.Declare(p, expr.Any)
		}
	}
	label := u.Use.S
	if u.Name.S != "" {
		label = u.Name.S
	}
	k.using = append(k.using, u.Use.S)
	done := k.line(in, "use %s", label)
	within := in.under(1)
	within.prefix, within.symbols, within.passes = in.prefix+label+"/", inner, nil
	k.items(&named.Steps, within)
	done()
	k.using = k.using[:len(k.using)-1]
}

// label returns the label of a step or group, which must be the only one of its name.
func (k *compiler) label(name block.Text, in place) string {
	label := in.prefix + name.S
	if first, twice := k.labels[label]; twice && name.S != "" {
		e := k.o.Errors.Add(name.Pos, name.Path, "a step named %q exists already, at %s", label, first)
		if in.prefix != "" {
			e.Hint = "give the second use a name of its own: {use: …, name: …}"
		}
	} else {
		k.labels[label] = name.Pos
	}
	return label
}

func (*Request) inside() []*Config { return nil }

func (r *Request) compile(k *compiler, at *block.Node, in place) {
	errs, s := k.o.Errors, in.symbols
	label := k.label(r.Name, in)
	st := step{index: len(k.p.steps), timeout: r.Timeout.D(), stop: r.OnFailure.Then == StopIteration, retry: r.OnFailure.Retry}
	if r.Expect.Path != "" {
		st.expect = expr.ParseCondition(r.Expect, s, errs)
		if st.expect != nil {
			st.keep.Merge(st.expect.Keep())
		}
	}
	desc := StepDesc{Label: label, Objectives: r.Objectives, PerIteration: in.times, Expected: in.expected, Retries: st.retry != nil}
	for _, tag := range r.Tags {
		if desc.Tags == nil {
			desc.Tags = map[string]string{}
		}
		desc.Tags[tag.Name.S] = tag.Value.S
	}
	var extracted []*expr.Extraction
	for _, x := range r.Extract {
		from := expr.ParseExtraction(x.Value, s, errs)
		if from != nil {
			st.keep.Merge(from.Keep())
		}
		extracted = append(extracted, from)
	}
	name, target := k.target(r)
	desc.Target = name
	kind, node := k.kind(r, at)
	if kind != nil {
		config := kind.Step()
		before := errs.Len()
		block.Decode(node, config, errs)
		if errs.Len() == before && target != nil {
			st.do = config.Compile(k.protocol(label, kind.Name, target, s))
		}
		desc.Protocol, desc.Garbage = kind.Name, kind.Garbage
		st.judge, _ = st.do.(protocol.Judge)
		desc.Span, _ = st.do.(protocol.SpanMapper)
		if a, ok := st.do.(protocol.Authorized); ok {
			desc.Credential = a.Credential()
		}
	}
	adds, keep := k.ofAnswer(r, s)
	st.adds = adds
	st.keep.Merge(keep)
	// The step's checks may read what it extracts; its request may not.
	var names []string
	for i, x := range r.Extract {
		kind := expr.Any
		if extracted[i] != nil {
			kind = extracted[i].Type()
		}
		names = append(names, x.Name.S)
		st.extracts = append(st.extracts, extract{k.assign(x.Name, kind, in), extracted[i]})
	}
	for _, c := range r.Checks {
		desc.Checks = append(desc.Checks, c.Name.S)
		var holds *expr.Condition
		own := k.variables.ReadBy(func() { holds = expr.ParseCondition(c.Value, s, errs) }, names...)
		if holds != nil {
			st.keep.Merge(holds.Keep())
			st.checks = append(st.checks, check{holds, own})
		}
	}
	if st.target = slices.Index(k.p.targets, name); st.target < 0 {
		st.target = len(k.p.targets)
		k.p.targets = append(k.p.targets, name)
	}
	k.p.Requests += in.times
	k.p.Expected += in.expected
	k.p.Steps = append(k.p.Steps, desc)
	k.p.Outline = append(k.p.Outline, Line{in.depth, label, st.index, in.expected})
	k.emit(op{code: opRequest, n: st.index})
	k.p.steps = append(k.p.steps, st)
	if stream, ok := st.do.(protocol.Streaming); ok {
		k.messages(st.index, r.Name, stream.Timings(), in)
	}
}

// messages appends what is timed of the messages of the streams that a step opens.
func (k *compiler) messages(of int, name block.Text, timings []load.MessageTiming, in place) {
	if k.part != "" || len(timings) == 0 {
		return // what is done beside the flow is not measured
	}
	desc, target := k.p.Steps[of], k.p.steps[of].target
	k.p.Steps[of].Messages = true
	for _, t := range timings {
		at := name
		at.S = t.Series(name.S)
		k.p.Steps = append(k.p.Steps, StepDesc{
			Label: k.label(at, in), Target: desc.Target, Protocol: load.GroupProtocol, Group: true,
			Metric: &load.Metric{Type: load.MetricTrend, Unit: load.UnitSeconds, Step: desc.Label, Timing: t},
		})
		k.p.steps = append(k.p.steps, step{index: len(k.p.steps), target: target})
	}
}

// protocol returns what a protocol needs to compile a step.
func (k *compiler) protocol(step, kind string, t *Target, s *expr.Symbols) *protocol.Compiler {
	return &protocol.Compiler{
		Scenario: k.o.Scenario, Step: step, Defaults: t.Defaults(kind), Base: t.Base, Client: func() *protocol.Client { return k.client(t) },
		Credentials: t.Credentials, Credential: k.o.Credential,
		Symbols: s, Dir: k.o.Dir, Allowed: k.o.Allowed, Errors: k.o.Errors,
	}
}

// client returns how load speaks HTTP to a target, nil where no protocol does.
func (k *compiler) client(t *Target) *protocol.Client {
	if k.o.Errors.Len() > 0 {
		return nil
	}
	for _, kind := range k.o.Kinds {
		if over, ok := t.Defaults(kind.Name).(protocol.HTTPTarget); ok {
			return over.Client(&protocol.Compiler{
				Base: t.Base, Credentials: t.Credentials, Credential: k.o.Credential, Dir: k.o.Dir, Allowed: k.o.Allowed, Errors: &block.Errors{},
			})
		}
	}
	return nil
}

// link makes the code point to the steps, after the last of them was appended.
func (k *compiler) link() {
	for i := range k.p.code {
		if o := &k.p.code[i]; o.code == opRequest {
			o.step = &k.p.steps[o.n]
		}
	}
}

func (k *compiler) target(r *Request) (string, *Target) {
	at := k.o.Target
	if r.Target.S != "" {
		at = r.Target
	}
	if to, ok := k.o.Exchange[at.S]; ok {
		at.S = to
	}
	if t := k.o.Targets[at.S]; t != nil {
		return at.S, t
	}
	if r.Target.S != "" {
		var names []string
		for name := range k.o.Targets {
			names = append(names, name)
		}
		slices.Sort(names)
		k.o.Errors.Add(at.Pos, at.Path, "unknown target %q", at.S).Hint = block.Nearest(at.S, names)
	}
	return at.S, nil // an unknown target of the scenario is reported by its owner
}

// kind returns the protocol that a step names, and its block.
func (k *compiler) kind(r *Request, at *block.Node) (*protocol.Kind, *block.Node) {
	var names, found []string
	var kind *protocol.Kind
	var node *block.Node
	for i := range k.o.Kinds {
		names = append(names, k.o.Kinds[i].Name)
	}
	unknown := false
	for _, key := range r.rest {
		i := slices.Index(names, key.Name)
		if i < 0 {
			unknown = true
			if hint := hintOf(key.Name); hint != "" {
				k.o.Errors.Add(key.Pos, block.Join(at.Path, key.Name), "unknown key %q", key.Name).Hint = hint
				continue
			}
			block.UnknownKey(key, at.Path, slices.Concat(constructKeys(), slices.DeleteFunc(slices.Clone(stepKeys), func(key string) bool { return key == addKey }), names), k.o.Errors)
			continue
		}
		if v := key.Value; v.Kind != block.Map {
			k.o.Errors.Add(v.Pos, v.Path, "must be a mapping, got %s", v.Found()).Hint = "write " + key.Name + ": {url: /path}"
			unknown = true
			continue
		}
		found = append(found, key.Name)
		kind, node = &k.o.Kinds[i], key.Value
	}
	switch {
	case len(found) > 1:
		k.o.Errors.Add(at.Pos, at.Path, "a step makes one request, got %s", strings.Join(found, " and ")).Hint = "write a step for each"
		return nil, nil
	case len(found) == 0 && !unknown:
		k.o.Errors.Add(at.Pos, at.Path, "a step needs a request").Hint = "its protocol is one of " + strings.Join(names, ", ") + ": write http: {url: /path}"
	}
	return kind, node
}
