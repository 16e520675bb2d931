// Package flow compiles the steps that one virtual user performs into flat code
// with a program counter, and runs that code: a VU that thinks returns the
// instant at which it is to continue, and holds neither goroutine nor buffer.
//
// The package knows protocols by their interface only. It does not know when or
// how often a flow is performed.
package flow

import (
	"maps"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/objective"
)

// A Config is the flow block of a scenario, or the steps of a named flow.
type Config struct {
	At    *block.Node
	Items []Item
}

// An Item is one entry of a flow: exactly one of its fields is set.
type Item struct {
	At      *block.Node
	Request *Request
	Use     *Use
	Think   *Think
}

// The values of a step's on_failure.
const (
	Continue      = "continue"
	StopIteration = "stop_iteration"
)

// A Request is a step: one named request of any protocol.
type Request struct {
	Name       block.Text                `yaml:"name" block:"required" doc:"Name of the step: the label of its metrics."`
	Target     block.Text                `yaml:"target" doc:"Target of this step, if it is not the scenario's."`
	Timeout    block.Duration            `yaml:"timeout" doc:"How long the whole request may take, redirects included (default 30s)."`
	Expect     block.Text                `yaml:"expect" doc:"Condition that decides whether the request failed; the default is the protocol's (http: status < 400)."`
	Checks     block.Entries[block.Text] `yaml:"checks" doc:"Named conditions that are counted and never decide failure."`
	Extract    block.Entries[block.Text] `yaml:"extract" doc:"Variables taken out of the answer; without them, because one is not there or the request failed, the iteration stops."`
	Objectives []objective.Config        `yaml:"objectives" doc:"What the SLA says of this step alone."`
	OnFailure  string                    `yaml:"on_failure" doc:"continue (default) or stop_iteration."`

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
		errs.Add(n.Pos, n.Path, "must be a list of steps, got %s", n.Found())
		return
	}
	if len(n.Items) == 0 {
		errs.Add(n.Pos, n.Path, "must have at least one step")
	}
	for _, item := range n.Items {
		i := Item{At: item}
		switch {
		case item.Kind != block.Map:
			errs.Add(item.Pos, item.Path, "a step must be a mapping, got %s", item.Found())
			continue
		case item.Get("use") != nil:
			i.Use = &Use{}
			block.Decode(item, i.Use, errs)
		case item.Get("think") != nil:
			i.Think = &Think{}
			only := struct {
				Think *Think `yaml:"think"`
			}{i.Think}
			block.Decode(item, &only, errs)
		default:
			i.Request = &Request{OnFailure: Continue, Timeout: block.Duration(30 * time.Second)}
			i.Request.decode(item, errs)
		}
		c.Items = append(c.Items, i)
	}
}

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
	block.Decode(&own, r, errs)
}

var stepKeys = []string{"name", "target", "timeout", "expect", "checks", "extract", "objectives", "on_failure"}

// Validate checks what needs no other part of the configuration.
func (r *Request) Validate(n *block.Node, errs *block.Errors) {
	if r.Name.S == "" {
		errs.Add(r.Name.Pos, r.Name.Path, "must not be empty")
	}
	if r.Timeout <= 0 {
		at := n.Get("timeout")
		errs.Add(at.Pos, at.Path, "must be more than 0")
	}
	switch r.OnFailure {
	case Continue, StopIteration:
	default:
		at := n.Get("on_failure")
		errs.Add(at.Pos, at.Path, "must be continue or stop_iteration, got %q", r.OnFailure).Hint = block.Nearest(r.OnFailure, []string{Continue, StopIteration})
	}
	if len(r.Checks) > maxChecks {
		errs.Add(n.Pos, n.Path, "a step may have at most %d checks, got %d", maxChecks, len(r.Checks))
	}
}

// maxChecks is how many bits load.Result.Checks has.
const maxChecks = 64

// JSONSchema returns the schema of the block without protocols; Schema adds them.
func (Config) JSONSchema() map[string]any { return Schema(nil) }

// Schema returns the schema of a list of steps, given the schema of each protocol's block by name.
func Schema(kinds map[string]any) map[string]any {
	request := block.Schema(Request{})
	properties := request["properties"].(map[string]any)
	maps.Copy(properties, kinds)
	think := map[string]any{
		"type": "object", "required": []string{"think"}, "additionalProperties": false,
		"properties": map[string]any{"think": block.Schema(Think{})},
	}
	if kinds == nil {
		request["additionalProperties"] = true
	}
	return map[string]any{"type": "array", "minItems": 1, "items": map[string]any{
		"anyOf": []any{request, block.Schema(Use{}), think},
	}}
}
