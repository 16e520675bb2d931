package flow

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/objective"
)

// constructs lists what an entry of a flow can be besides a request, by the key that says so.
var constructs = []struct {
	key string
	new func() node
}{
	{"use", func() node { return &Use{} }},
	{"think", func() node { return &Pause{} }},
	{"pace", func() node { return &Pace{} }},
	{"set", func() node { return &Set{} }},
	{"next", func() node { return &Next{} }},
	{"when", func() node { return &When{} }},
	{"chance", func() node { return &Chance{} }},
	{"choose", func() node { return &Choose{} }},
	{"repeat", func() node { return &Repeat{} }},
	{"parallel", func() node { return &Parallel{} }},
	{"group", func() node { return &Group{} }},
	{"once_per_vu", func() node { return &Once{} }},
	{"cleanup", func() node { return &CleanUpSteps{} }},
	{addKey, func() node { return &Add{} }},
	{"stop_iteration", func() node { return &Stop{} }},
	{"fail", func() node { return &Fail{} }},
}

// constructKeys returns the keys of all constructs.
func constructKeys() (keys []string) {
	for _, c := range constructs {
		keys = append(keys, c.key)
	}
	return keys
}

// A Pause is a think time.
type Pause struct {
	Think Think `yaml:"think" block:"required" scale:"time" doc:"How long the virtual user thinks."`
}

func (*Pause) inside() []*Config { return nil }

// A Pace makes each iteration take at least as long as it says.
type Pace struct {
	Pace block.Duration `yaml:"pace" block:"required" scale:"time" doc:"How long an iteration takes at least, from when it was due: the rest is waited for at its end, however it ends."`
}

func (*Pace) inside() []*Config { return nil }

// Validate checks that the pace is one.
func (p *Pace) Validate(n *block.Node, errs *block.Errors) {
	if at := n.Get("pace"); p.Pace == 0 && at != nil {
		errs.Add(at.Pos, at.Path, "must be more than 0")
	}
}

// A Set gives variables values.
type Set struct {
	Set block.Entries[*block.Node] `yaml:"set" block:"required" doc:"Variables and their values: text with ${…}, a number, a boolean, or a list or mapping of these."`
}

func (*Set) inside() []*Config { return nil }

// A Next takes the next row of data.
type Next struct {
	Next block.Text `yaml:"next" block:"required" doc:"Name of an entry of data, whose next row its name stands for from here on."`
}

func (*Next) inside() []*Config { return nil }

// A When performs steps where a condition holds, and others where it does not.
type When struct {
	When  block.Text `yaml:"when" block:"required" doc:"Condition over variables: user.vip, stock > 0."`
	Steps Config     `yaml:"steps" block:"required" doc:"What is done where it holds."`
	Else  Config     `yaml:"else" doc:"What is done where it does not."`
}

func (w *When) inside() []*Config { return []*Config{&w.Steps, &w.Else} }

// A Chance performs steps with a probability.
type Chance struct {
	Chance block.Ratio `yaml:"chance" block:"required" doc:"Probability, such as 30% or 0.3."`
	Steps  Config      `yaml:"steps" block:"required" doc:"What is done with this probability."`
	Else   Config      `yaml:"else" doc:"What is done otherwise."`
}

func (c *Chance) inside() []*Config { return []*Config{&c.Steps, &c.Else} }

// Validate checks that the chance is a probability.
func (c *Chance) Validate(n *block.Node, errs *block.Errors) {
	if at := n.Get("chance"); at != nil && (c.Chance < 0 || c.Chance > 1) {
		errs.Add(at.Pos, at.Path, "must be between 0 %% and 100 %%, got %s", at.Found()).Hint = "write 30% or 0.3"
	}
}

// A Choose performs one of several lists of steps, at random by weight.
type Choose struct {
	Choose []Branch `yaml:"choose" block:"required" doc:"What one is chosen of."`
}

// A Branch is one of the lists of a Choose.
type Branch struct {
	Weight float64 `yaml:"weight" doc:"How often it is chosen, as a share of the sum of all weights (default 1)."`
	Steps  Config  `yaml:"steps" block:"required" doc:"What is done where it is chosen."`
}

func (c *Choose) inside() (list []*Config) {
	for i := range c.Choose {
		list = append(list, &c.Choose[i].Steps)
	}
	return list
}

// Validate checks the weights, and sets those that are not written.
func (c *Choose) Validate(n *block.Node, errs *block.Errors) {
	list := n.Get("choose")
	if list == nil || list.Kind != block.List {
		return
	}
	sum := 0.0
	for i := range c.Choose {
		at := list.Items[i].Get("weight")
		if at == nil {
			c.Choose[i].Weight = 1
		}
		if w := c.Choose[i].Weight; w < 0 || math.IsInf(w, 0) {
			errs.Add(at.Pos, at.Path, "must not be negative, got %s", at.Found())
		}
		sum += c.Choose[i].Weight
	}
	switch {
	case len(c.Choose) == 0:
		errs.Add(list.Pos, list.Path, "must have at least one entry")
	case sum <= 0:
		errs.Add(list.Pos, list.Path, "one of the weights must be more than 0")
	case math.IsInf(sum, 0):
		errs.Add(list.Pos, list.Path, "the weights are too large to be added up").Hint = "a weight is a share of their sum: 7 and 3, or 70 and 30"
	}
}

// An Over says how often steps are performed.
type Over struct {
	Count  block.Text     `yaml:"count" doc:"How often: a number, or an expression over variables such as random_int(3, 7)."`
	While  block.Text     `yaml:"while" doc:"Condition over variables, asked before each pass."`
	Each   block.Text     `yaml:"each" doc:"A list, as an expression over variables: one pass for each of its items."`
	During block.Duration `yaml:"during" scale:"time" doc:"For this time: no pass begins after it."`
	AtMost int            `yaml:"at_most" doc:"Passes at most. Needed for while and each, and for a count that is not a plain number."`
	As     block.Text     `yaml:"as" doc:"Name of the variable that holds the item of each."`
	Index  block.Text     `yaml:"index" doc:"Name of the variable that holds the number of the pass, from 1."`
	Pace   block.Duration `yaml:"pace" scale:"time" doc:"How long a pass takes at least."`
}

// maxPasses bounds every loop.
const maxPasses = 1_000_000

func (o *Over) names() (names []block.Text) {
	for _, name := range []block.Text{o.As, o.Index} {
		if name.S != "" {
			names = append(names, name)
		}
	}
	return names
}

// overKeys are the keys of the mapping that an Over may be.
type overKeys Over

// DecodeBlock decodes a number of passes, or a mapping.
func (o *Over) DecodeBlock(n *block.Node, errs *block.Errors) {
	if n.Kind != block.Map {
		block.Decode(n, &o.Count, errs)
		o.check(n, []string{"count"}, errs)
		return
	}
	before := errs.Len()
	block.Decode(n, (*overKeys)(o), errs)
	if errs.Len() > before {
		return
	}
	var kinds []string
	for _, kind := range []string{"count", "while", "each", "during"} {
		if n.Get(kind) != nil {
			kinds = append(kinds, kind)
		}
	}
	o.check(n, kinds, errs)
}

// check checks what belongs together, given which of the kinds of loop are there.
func (o *Over) check(n *block.Node, kinds []string, errs *block.Errors) {
	if len(kinds) != 1 {
		errs.Add(n.Pos, n.Path, "must name exactly one of count, while, each and during, got %d", len(kinds))
		return
	}
	at := n.Get("at_most")
	switch {
	case at != nil && (o.AtMost < 1 || o.AtMost > maxPasses):
		errs.Add(at.Pos, at.Path, "must be between 1 and %d, got %s", maxPasses, at.Found())
	case at == nil && (kinds[0] == "while" || kinds[0] == "each" || kinds[0] == "count" && !isDigits(o.Count.S)):
		if kinds[0] == "count" && strings.TrimLeft(o.Count.S, "+-0123456789.") == "" {
			errs.Add(o.Count.Pos, o.Count.Path, "must be a whole number of passes, got %q", o.Count.S)
			return
		}
		errs.Add(n.Pos, n.Path, "has no bound").Hint = "write repeat: {" + kinds[0] + ": …, at_most: 100}"
	}
	if kinds[0] == "each" && o.As.S == "" {
		errs.Add(n.Pos, n.Path, "each needs a name for the item").Hint = "write as: item"
	}
	if o.As.S != "" && o.As.S == o.Index.S {
		errs.Add(o.Index.Pos, o.Index.Path, "is the name of the item, too").Hint = "give the number of the pass another name"
	}
	if kinds[0] != "each" && o.As.S != "" {
		errs.Add(o.As.Pos, o.As.Path, "is the item of each, and there is none").Hint = "index names the number of the pass"
	}
	if during := n.Get("during"); during != nil && o.During == 0 {
		errs.Add(during.Pos, during.Path, "must be more than 0")
	}
}

// isDigits reports whether a text is a whole number of passes.
func isDigits(s string) bool { return s != "" && len(s) <= 7 && strings.Trim(s, "0123456789") == "" }

// JSONSchema returns the schema of both forms.
func (Over) JSONSchema() map[string]any {
	type plain Over
	return map[string]any{"anyOf": []any{
		map[string]any{"type": []string{"integer", "string"}, "description": "how often"}, block.Schema(plain{}),
	}}
}

// A Repeat performs steps again and again.
type Repeat struct {
	Repeat Over   `yaml:"repeat" block:"required" doc:"How often: a number, or one of count, while, each and during."`
	Steps  Config `yaml:"steps" block:"required" doc:"What is repeated."`
}

func (r *Repeat) inside() []*Config { return []*Config{&r.Steps} }

// A Parallel performs lists of steps at once, each on connections of its own: several lists, or one list several times.
type Parallel struct {
	Parallel *block.Node `yaml:"parallel" block:"required" doc:"Several lists of steps; or count or each, for one list of steps several times at once."`
	Limit    int         `yaml:"limit" doc:"How many at once (default 20)."`
	Steps    Config      `yaml:"steps" doc:"What is done once for each pass of count or each."`

	branches []Config
	over     Over
}

// defaultLimit is how many branches run at once, as many as k6's batch has.
const defaultLimit = 20

func (p *Parallel) inside() (list []*Config) {
	for i := range p.branches {
		list = append(list, &p.branches[i])
	}
	return append(list, &p.Steps)
}

// Validate decodes the branches.
func (p *Parallel) Validate(n *block.Node, errs *block.Errors) {
	if at := n.Get("limit"); at == nil {
		p.Limit = defaultLimit
	} else if p.Limit < 1 || p.Limit > 1000 {
		errs.Add(at.Pos, at.Path, "must be between 1 and 1000, got %s", at.Found())
	}
	at := p.Parallel
	switch {
	case at == nil:
	case at.Kind == block.List:
		if steps := n.Get("steps"); steps != nil {
			errs.Add(steps.Pos, steps.Path, "belong to parallel: {count: …} or {each: …}; here the lists are the branches")
		}
		if len(at.Items) == 0 {
			errs.Add(at.Pos, at.Path, "must have at least one list of steps")
		}
		p.branches = make([]Config, len(at.Items))
		for i, item := range at.Items {
			if item.Kind != block.List { // one step needs no list
				item = &block.Node{Kind: block.List, Pos: item.Pos, Path: item.Path, Items: []*block.Node{item}}
			}
			block.Decode(item, &p.branches[i], errs)
		}
	default:
		block.Decode(at, &p.over, errs)
		for _, key := range []string{"while", "during", "pace"} {
			if k := at.Get(key); k != nil {
				errs.Add(k.Pos, k.Path, "is a matter of passes one after another").Hint = "use count or each, or repeat"
			}
		}
		if n.Get("steps") == nil {
			errs.Add(n.Pos, n.Path, "needs steps to perform at once").Hint = "write steps: […] beside parallel, or a list of lists below it"
		}
	}
}

// JSONSchema describes the three forms.
func (Parallel) JSONSchema() map[string]any {
	flow := map[string]any{"$ref": "#/$defs/flow"}
	return map[string]any{
		"type": "object", "required": []string{"parallel"}, "additionalProperties": false,
		"properties": map[string]any{
			"parallel": map[string]any{"anyOf": []any{
				map[string]any{"type": "array", "items": map[string]any{"anyOf": []any{flow, map[string]any{"type": "object"}}}},
				block.Schema(Over{}),
			}, "description": "Several lists of steps; or count or each, for one list of steps several times at once."},
			"limit": map[string]any{"type": "integer", "description": "How many at once (default 20)."},
			"steps": map[string]any{"$ref": "#/$defs/flow", "description": "What is done once for each pass of count or each."},
		},
	}
}

// A Group is steps that make up one thing for the user, measured as a whole.
type Group struct {
	Group      block.Text         `yaml:"group" block:"required" doc:"Name of the group: the label of its metrics, and a prefix of its steps' names."`
	Steps      Config             `yaml:"steps" block:"required" doc:"What belongs to it."`
	Objectives []objective.Config `yaml:"objectives" doc:"What the SLA says of the group: of the time from its first request to its last answer without thinking, and of how often it fails."`
}

func (g *Group) inside() []*Config { return []*Config{&g.Steps} }

// A Once performs steps in the first iteration of each virtual user only.
type Once struct {
	Steps Config `yaml:"once_per_vu" block:"required" doc:"What each virtual user does once. The variables that it sets stay for all its iterations; where it fails, the next iteration tries again."`
}

func (o *Once) inside() []*Config { return []*Config{&o.Steps} }

// A Stop ends the iteration, which counts as completed.
type Stop struct {
	Stop bool `yaml:"stop_iteration" block:"required" doc:"true: the iteration ends here, and counts as completed."`
}

func (*Stop) inside() []*Config { return nil }

// Validate checks that it says true.
func (s *Stop) Validate(n *block.Node, errs *block.Errors) {
	if at := n.Get("stop_iteration"); !s.Stop && at != nil {
		errs.Add(at.Pos, at.Path, "must be true").Hint = "leave the step out, or put it below when"
	}
}

// A Fail ends the iteration, which counts as failed.
type Fail struct {
	Fail block.Text `yaml:"fail" block:"required" doc:"Why the iteration failed: text with ${…} for people. It ends here."`
}

func (*Fail) inside() []*Config { return nil }

// The values of a step's on_failure.
const (
	Continue      = "continue"
	StopIteration = "stop_iteration"
	retry         = "retry"
)

// An OnFailure says what follows a failed request.
type OnFailure struct {
	Then  string // Continue or StopIteration, after the last attempt
	Retry *Retry // nil for one attempt
}

// A Retry says how a failed request is attempted again.
type Retry struct {
	Attempts int            `yaml:"attempts" doc:"Attempts in all, the first included (default 3)."`
	BackOff  block.Duration `yaml:"back_off" doc:"The longest wait before the second attempt; it doubles with each further one, and each wait is drawn evenly from 0 to it (default 200ms)."`
	MaxWait  block.Duration `yaml:"max_wait" doc:"The longest wait between two attempts (default 10s)."`
	Then     string         `yaml:"then" doc:"continue (default) or stop_iteration, after the last attempt failed."`
}

// Validate sets the defaults and checks the numbers.
func (r *Retry) Validate(n *block.Node, errs *block.Errors) {
	if at := n.Get("attempts"); at == nil {
		r.Attempts = 3
	} else if r.Attempts < 2 || r.Attempts > 100 {
		errs.Add(at.Pos, at.Path, "must be between 2 and 100, the first attempt included, got %s", at.Found())
	}
	if n.Get("back_off") == nil {
		r.BackOff = block.Duration(200 * time.Millisecond)
	}
	if n.Get("max_wait") == nil {
		r.MaxWait = block.Duration(10 * time.Second)
	}
	if at := n.Get("then"); at == nil {
		r.Then = Continue
	} else if r.Then != Continue && r.Then != StopIteration {
		errs.Add(at.Pos, at.Path, "must be continue or stop_iteration, got %s", at.Found()).Hint = block.Nearest(r.Then, []string{Continue, StopIteration})
	}
}

// A retryOnly is the mapping that an OnFailure may be.
type retryOnly struct {
	Retry *Retry `yaml:"retry" block:"required"`
}

// DecodeBlock decodes a word, or a mapping of retry.
func (o *OnFailure) DecodeBlock(n *block.Node, errs *block.Errors) {
	o.Then = Continue
	if n.Kind == block.Map {
		var only retryOnly
		block.Decode(n, &only, errs)
		if o.Retry = only.Retry; o.Retry != nil {
			o.Then = o.Retry.Then
		}
		return
	}
	words := []string{Continue, StopIteration, retry}
	switch {
	case !slices.Contains(words, n.Scalar):
		errs.Add(n.Pos, n.Path, "must be continue, stop_iteration or retry, got %s", n.Found()).Hint = cmp.Or(onFailureHabits[n.Scalar], block.Nearest(n.Scalar, words))
	case n.Scalar == retry:
		o.Retry = &Retry{}
		o.Retry.Validate(&block.Node{Kind: block.Map, Pos: n.Pos, Path: n.Path}, errs)
	default:
		o.Then = n.Scalar
	}
}

// JSONSchema returns the schema of both forms.
func (OnFailure) JSONSchema() map[string]any {
	return map[string]any{"anyOf": []any{
		map[string]any{"enum": []string{Continue, StopIteration, retry}},
		map[string]any{
			"type": "object", "required": []string{retry}, "additionalProperties": false,
			"properties": map[string]any{retry: block.Schema(Retry{})},
		},
	}}
}
