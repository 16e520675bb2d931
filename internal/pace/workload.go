package pace

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// A Config is the workload block of a scenario: how much, how fast. The keys that
// every executor has are fields; the executor named by Executor owns the others.
//
// The methods are good where Decode reported no mistake.
type Config struct {
	Executor     string         `yaml:"executor" block:"required"`
	Seed         int            `yaml:"seed" doc:"Seed of poisson arrivals and of the virtual users' random choices; 0 by default."`
	WarmUp       block.Duration `yaml:"warm_up" scale:"time" doc:"Time at the beginning of a run, and after a restart, that verdicts leave out; 0s by default."`
	GracefulStop block.Duration `yaml:"graceful_stop" doc:"How long iterations under way may go on after the end before they are interrupted; 30s by default."`

	at      *block.Node // nil where the document has none
	own     Workload
	summary Summary
	joined  bool
}

// DecodeBlock keeps the block for Decode, which knows the executors.
func (c *Config) DecodeBlock(n *block.Node, _ *block.Errors) { c.at = n }

// Decode decodes the block strictly over the defaults, and checks it.
func (c *Config) Decode(k Kinds, errs *block.Errors) {
	if c.at == nil { // decoding the scenario said so
		return
	}
	type plain Config
	before := errs.Len()
	*c = Config{GracefulStop: block.Duration(30 * time.Second), at: c.at}
	common, rest := split(c.at, block.FieldNames(block.Fields(reflect.TypeFor[plain]())))
	block.Decode(common, (*plain)(c), errs)
	if c.at.Kind != block.Map {
		return
	}
	e := k.executor(c.Executor)
	var own Workload
	if e != nil {
		own = e.New()
		rest = decodeOwn(c.at, rest, own, k, errs)
	}
	foreign := unknown(c.at, rest, k, errs)
	if e == nil {
		if errs.Len() == before {
			c.noExecutor(k, errs)
		}
		return
	}
	misplaced(foreign, e, k, errs)
	var more block.Errors
	check := &Checker{At: c.at, Executor: c.Executor, Partial: errs.Len() > before, kinds: k, errs: &more}
	if f, ok := own.(follower); ok {
		check.Model = f.follows().model
	}
	own.Check(check)
	if !check.Partial && more.Len() == 0 {
		c.own, c.summary = own, own.Summary()
		c.checkWarmUp(check)
	}
	errs.AddUnrelated(&more, before, c.at.Pos)
}

// split returns a block with the keys of some names alone, and the other keys.
func split(n *block.Node, names []string) (with *block.Node, rest []block.Key) {
	own := *n
	own.Keys = nil
	for _, k := range n.Keys {
		if slices.Contains(names, k.Name) {
			own.Keys = append(own.Keys, k)
		} else {
			rest = append(rest, k)
		}
	}
	return &own, rest
}

// decodeOwn decodes those of the keys that belong to an executor's block, or
// choose its shape, and returns the others.
func decodeOwn(at *block.Node, keys []block.Key, into Workload, kinds Kinds, errs *block.Errors) []block.Key {
	all := *at
	all.Keys = keys
	own, rest := split(&all, block.FieldNames(block.Fields(reflect.TypeOf(into).Elem())))
	block.Decode(own, into, errs)
	f, ok := into.(follower)
	if !ok {
		return rest
	}
	shaped := f.follows()
	return slices.DeleteFunc(rest, func(key block.Key) bool {
		shape := kinds.shape(key.Name)
		switch {
		case shape == nil:
			return false
		case shaped.curve != nil:
			errs.Add(key.Pos, key.Value.Path, "only one of %s and %s may be given", shaped.name, shape.Name)
			return true
		}
		shaped.name, shaped.curve = shape.Name, shape.New()
		block.Decode(key.Value, shaped.curve, errs)
		return true
	})
}

// unknown reports the keys that no executor has and returns the others.
func unknown(at *block.Node, keys []block.Key, k Kinds, errs *block.Errors) (foreign []block.Key) {
	known := block.FieldNames(block.Fields(reflect.TypeFor[Config]()))
	for _, e := range k.Executors {
		for _, key := range k.keys(e.New()) {
			if !slices.Contains(known, key) {
				known = append(known, key)
			}
		}
	}
	for _, key := range keys {
		if slices.Contains(known, key.Name) {
			foreign = append(foreign, key)
		} else {
			block.UnknownKey(key, at.Path, known, errs)
		}
	}
	return foreign
}

// misplaced reports keys that belong to other executors.
func misplaced(keys []block.Key, e *Executor, k Kinds, errs *block.Errors) {
	for _, key := range keys {
		err := errs.Add(key.Pos, key.Value.Path, "belongs to %s, the executor is %s", list(k.owners(key.Name), "and"), e.Name)
		if use := e.Instead[key.Name]; use != "" {
			err.Hint = fmt.Sprintf("%s has %s", e.Name, use)
		}
	}
}

func (c *Config) noExecutor(k Kinds, errs *block.Errors) {
	n := c.at.Get("executor")
	errs.Add(n.Pos, n.Path, "unknown executor %q", c.Executor).Hint = block.Nearest(c.Executor, k.names())
}

func (c *Config) checkWarmUp(check *Checker) {
	if length := c.summary.End.Time; length > 0 && c.WarmUp.D() >= length {
		check.Fail("warm_up", "must be shorter than the workload, which lasts %s, got %s", block.Duration(length), c.WarmUp)
	}
}

// JSONSchema describes the keys that every executor has; Kinds.Schema adds the others.
func (Config) JSONSchema() map[string]any {
	type plain Config
	s := block.Schema(plain{})
	s["additionalProperties"] = true
	return s
}

// Schema describes the workload block: the keys of all executors and shapes.
func (k Kinds) Schema() map[string]any {
	type plain Config
	s := block.Schema(plain{})
	properties := s["properties"].(map[string]any)
	properties["executor"].(map[string]any)["description"] = "Which model paces the load: " + list(k.names(), "or") + ", with k6's meaning."
	for _, e := range k.Executors {
		own, _ := block.Schema(e.New())["properties"].(map[string]any)
		for name, p := range own {
			properties[name] = either(properties[name], p)
		}
	}
	for _, shape := range k.Shapes {
		p := block.Schema(shape.New())
		p["description"] = shape.Doc
		properties[shape.Name] = p
	}
	return s
}

// list returns names as "a, b or c", with the last word that joins them.
func list(names []string, word string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " " + word + " " + names[last]
}

// either describes a key that two executors may have, with different meanings.
func either(a, b any) any {
	if a == nil || reflect.DeepEqual(a, b) {
		return b
	}
	out := map[string]any{"anyOf": []any{a, b}}
	if doc := a.(map[string]any)["description"]; doc == b.(map[string]any)["description"] {
		out["description"] = doc
	}
	return out
}

// Open reports whether the model is open: arrivals come whatever the target does.
func (c Config) Open() bool { return c.summary.Model == OpenModel }

// Model is "open" or "closed".
func (c Config) Model() string { return string(c.summary.Model) }

// Cycle is how long a lap lasts that repeats for ever; 0 where none does.
func (c Config) Cycle() time.Duration { return c.summary.Cycle }

// End says when the workload ends by itself; never for one that only its
// schedule ends.
func (c Config) End() End { return c.summary.End }

// Peak is the highest level the workload asks for: iterations per second of the
// open model, virtual users of the closed one.
func (c Config) Peak() float64 { return c.summary.Peak }

// Mean is the mean level over the lap that repeats, or over the whole workload
// where none does, in the unit of Peak.
func (c Config) Mean() float64 { return c.summary.Mean }

// MostVUs is how many virtual users there may be at once, over all shards.
func (c Config) MostVUs() int { return c.summary.MostVUs }

// FirstVUs is how many virtual users are made before the workload begins, over all shards.
func (c Config) FirstVUs() int { return c.summary.FirstVUs }

// MaxLateness is how late an arrival of the open model may be; a later one is dropped.
func (c Config) MaxLateness() time.Duration { return c.summary.MaxLateness }

// GracefulRampDown is how long an iteration may go on after the plan took its
// virtual user away.
func (c Config) GracefulRampDown() time.Duration { return c.summary.GracefulRampDown }

// StartOver is over how long so many virtual users of all shards begin that would at the same instant.
func (c Config) StartOver(n int) time.Duration {
	if c.summary.StartOver == nil {
		return 0
	}
	return c.summary.StartOver(n)
}

// Describe says the workload in one line: "ramping-arrival-rate: 0/s → 50/s over
// 5m, then 50/s for 55m, repeats from stage 1".
func (c Config) Describe() string {
	text := c.Executor + ": " + c.own.Describe()
	if c.joined {
		text += "; always on, it is in that lap already, and what comes before is never played"
	}
	return text
}

// Joined returns the workload as an always-on scenario plays it, which is in the lap that repeats
// for as long as the clock knows: what only the first pass asks for is no part of its peak.
func (c Config) Joined() Config {
	c.joined = c.summary.Once
	if c.summary.Cycle > 0 {
		c.summary.Peak = c.summary.LapPeak
	}
	return c
}
