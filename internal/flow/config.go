// Package flow compiles the steps that one virtual user performs into flat code
// with a program counter, and runs that code: a VU that thinks returns the
// instant at which it is to continue, and holds neither goroutine nor buffer.
//
// The package knows protocols by their interface only. It does not know when or
// how often a flow is performed.
package flow

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/objective"
)

// A Config is the flow block of a scenario, or the steps of a named flow or of a construct within one.
type Config struct {
	At    *block.Node
	Items []Item
}

// An Item is one entry of a flow: a request, or one of the constructs.
type Item struct {
	At *block.Node
	node
}

// A node is what an entry of a flow says.
type node interface {
	// compile appends the code of the entry.
	compile(k *compiler, at *block.Node, in place)
	// inside returns the lists of steps within the entry, in order.
	inside() []*Config
}

// Each calls f with every entry of the flow and of the constructs within it, in order. It does not enter named flows.
func (c *Config) Each(f func(Item)) {
	for _, item := range c.Items {
		f(item)
		for _, inner := range item.inside() {
			inner.Each(f)
		}
	}
}

// Requests returns the steps of the flow and of the constructs within it.
func (c *Config) Requests() (list []*Request) {
	c.Each(func(i Item) {
		if r, ok := i.node.(*Request); ok {
			list = append(list, r)
		}
	})
	return list
}

// Uses returns the names of the flows that the flow uses, in order.
func (c *Config) Uses() (names []string) {
	c.Each(func(i Item) {
		if u, ok := i.node.(*Use); ok {
			names = append(names, u.Use.S)
		}
	})
	return names
}

// Variables returns the names of the variables that the flow sets, with their places.
func (c *Config) Variables() (names []block.Text) {
	c.Each(func(i Item) {
		switch n := i.node.(type) {
		case *Request:
			for _, x := range n.Extract {
				names = append(names, x.Name)
			}
		case *Set:
			for _, x := range n.Set {
				names = append(names, x.Name)
			}
		case *Repeat:
			names = append(names, n.Repeat.names()...)
		case *Parallel:
			names = append(names, n.over.names()...)
		}
	})
	return names
}

// A Request is a step: one named request of any protocol.
type Request struct {
	Name       block.Text                `yaml:"name" block:"required" doc:"Name of the step: the label of its metrics."`
	Target     block.Text                `yaml:"target" doc:"Target of this step, if it is not the scenario's."`
	Timeout    block.Duration            `yaml:"timeout" doc:"How long the whole request may take, redirects included (default 30s)."`
	Expect     block.Text                `yaml:"expect" doc:"Condition that decides whether the request failed; the default is the protocol's (http: status < 400)."`
	Checks     block.Entries[block.Text] `yaml:"checks" doc:"Named conditions that are counted and never decide failure."`
	Extract    block.Entries[block.Text] `yaml:"extract" doc:"Variables taken out of the answer; without them, because one is not there or the request failed, the iteration stops."`
	Objectives []objective.Config        `yaml:"objectives" doc:"What the SLA says of this step alone."`
	Add        block.Entries[Addend]     `yaml:"add" doc:"Values for the scenario's metrics, as expressions over the answer: {login_success: status == 200, processing_time: json.millis / 1000}, or {orders: {value: 1, labels: {plan: json.plan}}}."`
	OnFailure  OnFailure                 `yaml:"on_failure" doc:"What follows a failure: continue (default), stop_iteration or retry."`

	Tags block.Entries[block.Text] `yaml:"tags" doc:"Labels of the step's perfd_step_info, to join on: {team: checkout}."`

	rest []block.Key // the protocol's block, and unknown keys
}

// A Use performs a named flow.
type Use struct {
	Use  block.Text                 `yaml:"use" block:"required" doc:"Name of a flow below flows."`
	Name block.Text                 `yaml:"name" doc:"What its steps are labelled with, if not the flow's name; needed where a flow is used twice."`
	With block.Entries[*block.Node] `yaml:"with" doc:"A value for each of the flow's params."`
}

// A Named is a reusable flow.
type Named struct {
	Params []block.Text `yaml:"params" doc:"Names that a use must give values for."`
	Steps  Config       `yaml:"steps" block:"required" doc:"What the flow does."`
}

// NamedFlows is the flows block: reusable flows by name.
type NamedFlows = block.Entries[Named]

// DecodeBlock decodes a list of steps.
func (c *Config) DecodeBlock(n *block.Node, errs *block.Errors) {
	c.At = n
	if n.Kind != block.List {
		e := errs.Add(n.Pos, n.Path, "must be a list of steps, got %s", n.Found())
		if n.Kind == block.Map {
			e.Hint = "begin each step with \"- \""
		}
		return
	}
	if len(n.Items) == 0 {
		errs.Add(n.Pos, n.Path, "must have at least one step")
	}
	for _, item := range n.Items {
		if item.Kind != block.Map {
			errs.Add(item.Pos, item.Path, "a step must be a mapping, got %s", item.Found()).Hint = cmp.Or(hintOf(item.Scalar), "write {name: list, http: {url: /products}}")
			continue
		}
		c.Items = append(c.Items, Item{item, decodeItem(item, errs)})
	}
}

// decodeItem decodes one entry: a construct where one of its keys is that of a construct, else a request.
func decodeItem(n *block.Node, errs *block.Errors) node {
	var keys []string
	var found node
	for _, c := range constructs {
		if n.Get(c.key) != nil && (c.key != addKey || n.Get("name") == nil) { // a request has a key add too
			keys = append(keys, c.key)
			if found == nil {
				found = c.new()
			}
		}
	}
	if len(keys) > 1 {
		errs.Add(n.Pos, n.Path, "a step does one thing, got %s", strings.Join(keys, " and ")).Hint = "write one step after the other, or one within the other's steps"
		return &nothing{}
	}
	if found != nil {
		if at := n.Get(keys[0]); at.Kind == block.Null {
			errs.Add(at.Pos, at.Path, "has no value")
			return &nothing{}
		}
		if misplaced(n, keys[0], errs) || n.Get("then") != nil && habit(n, errs) {
			return &nothing{}
		}
		block.Decode(n, found, errs)
		return found
	}
	if habit(n, errs) {
		return &nothing{}
	}
	r := &Request{OnFailure: OnFailure{Then: Continue}, Timeout: block.Duration(30 * time.Second)}
	r.decode(n, errs)
	return r
}

// A nothing is an entry that was reported when it was decoded.
type nothing struct{}

func (*nothing) compile(*compiler, *block.Node, place) {}
func (*nothing) inside() []*Config                     { return nil }

// decode reads the keys that every step has and keeps the rest for the compiler, which knows the protocols.
func (r *Request) decode(n *block.Node, errs *block.Errors) {
	own := *n
	own.Keys = nil
	for _, k := range n.Keys {
		if slices.Contains(stepKeys, k.Name) {
			own.Keys = append(own.Keys, k)
		} else {
			r.rest = append(r.rest, k)
		}
	}
	own.Keys = shapes(own.Keys, errs)
	block.Decode(&own, r, errs)
}

var stepKeys = []string{"name", "target", "timeout", "expect", "checks", "extract", "objectives", "add", "on_failure", "tags"}

// Validate checks what needs no other part of the configuration.
func (r *Request) Validate(n *block.Node, errs *block.Errors) {
	if r.Name.S == "" {
		errs.Add(r.Name.Pos, r.Name.Path, "must not be empty")
	}
	if r.Timeout <= 0 {
		at := n.Get("timeout")
		errs.Add(at.Pos, at.Path, "must be more than 0")
	}
	for _, tag := range r.Tags {
		switch name := tag.Name; {
		case slices.Contains(stepLabels, name.S):
			errs.Add(name.Pos, name.Path, "label %q is perfd's own", name.S).Hint = "own are " + strings.Join(stepLabels, ", ")
		case !identifier.MatchString(name.S) || strings.HasPrefix(name.S, "__"):
			errs.Add(name.Pos, name.Path, "a label is made of letters, digits and _ and does not begin with a digit or __, got %q", name.S)
		case strings.Contains(tag.Value.S, "${"):
			errs.Add(tag.Value.Pos, tag.Value.Path, "a tag is the same for all requests of the step").Hint = "what differs from request to request is no label: there is no end of its values"
		}
	}
	if len(r.Checks) > maxChecks {
		errs.Add(n.Pos, n.Path, "a step may have at most %d checks, got %d", maxChecks, len(r.Checks))
	}
}

// stepLabels are labels that perfd_step_info has already, or that Prometheus sets.
var stepLabels = []string{"scenario", "step", "target", "protocol", "job", "instance", "le", "quantile"}

// maxChecks is how many bits load.Result.Checks has.
const maxChecks = 64

// JSONSchema refers to the schema of flows, which Schema returns.
func (Config) JSONSchema() map[string]any { return map[string]any{"$ref": "#/$defs/flow"} }

// Schema returns the schema of a list of steps, given the schema of each protocol's block by name. In the constructs
// within the list it refers to itself as $defs/flow.
func Schema(kinds map[string]any) map[string]any {
	request := block.Schema(Request{})
	properties := request["properties"].(map[string]any)
	maps.Copy(properties, kinds)
	if kinds == nil {
		request["additionalProperties"] = true
	}
	forms := []any{request}
	for _, c := range constructs {
		forms = append(forms, block.Schema(reflect.ValueOf(c.new()).Elem().Interface()))
	}
	return map[string]any{"type": "array", "minItems": 1, "items": map[string]any{"anyOf": forms}}
}
