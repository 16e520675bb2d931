package flow

import (
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/block"
)

// habits are keys of an entry that people write who know other tools, and what is written here.
var habits = []struct {
	keys []string
	hint string
}{
	{[]string{"sleep", "pause", "wait", "delay", "thinktime", "think_time"}, "write think: 1s, or think: {uniform: [1s, 4s]}"},
	{[]string{"if", "unless", "doIf", "ifTrue", "ifFalse", "condition", "skip_if", "only_if"}, "write when: condition, with steps: […] beside it"},
	{[]string{"else", "then"}, "steps: and else: stand beside when: or chance:, in one entry"},
	{[]string{"loop", "for", "foreach", "while", "times", "during"}, "write repeat: 3, or repeat: {while: …, at_most: 100}, {each: …, as: item, at_most: 100} or {during: 30s}, with steps: […] beside it"},
	{[]string{"batch", "concurrent", "async", "all"}, "write parallel: with a list of lists of steps"},
	{[]string{"probability", "percent", "percentage"}, "write chance: 30%, with steps: […] beside it"},
	{[]string{"random", "switch", "oneOf", "one_of", "randomSwitch", "weight", "weights"}, "write choose: [{weight: 3, steps: […]}, {weight: 1, steps: […]}]"},
	{[]string{"transaction", "section", "tag"}, "write group: name, with steps: […] beside it"},
	{[]string{"var", "vars", "let", "const", "variables", "assign"}, "write set: {name: value}"},
	{[]string{"log", "print", "console", "echo"}, "a flow writes no log: checks and failures are counted and kept, and perfd once prints them"},
	{[]string{"exec"}, "write {name: list, http: {url: /products}} as the entry itself, or use: name for an entry of flows"},
	{[]string{"call", "include", "run", "flow"}, "write use: name, for an entry of flows"},
	{[]string{"break", "exit", "return", "stop", "abort"}, "write stop_iteration: true, or fail: why"},
	{[]string{"exitHereIfFailed", "exitHere", "exitBlockOnFail", "on_error", "onError", "continue_on_error", "ignore_errors", "abort_on_fail"}, "write on_failure: stop_iteration (or continue, or retry) in the step that may fail"},
	{[]string{"rendezVous", "rendezvous", "barrier", "synchronize", "waitFor"}, "virtual users do not wait for one another: load that comes at once is a workload's, as shared-iterations or the shape spike"},
	{[]string{"thresholds", "threshold", "sla", "slo", "criteria"}, "write objectives: [{name: fast, that: p(95) < 500ms}], in the step or beside flow"},
	{[]string{"catch_response", "catchResponse", "expected_status", "expectedStatus", "success"}, "write expect: status in [200, 404]"},
	{[]string{"feed", "feeder", "csv", "dataset"}, "write data: {users: {file: users.csv}} at the top of the document; each iteration has a row as ${users.email}, next: [users] takes another"},
	{[]string{"weighted", "distribute", "mix"}, "write choose: [{weight: 3, steps: […]}, {weight: 1, steps: […]}]"},
	{[]string{"comment", "description", "doc", "note"}, "write a comment: # text"},
	{[]string{"once", "onceOnly", "init"}, "write once_per_vu: […]"},
	{[]string{"setup", "teardown", "before", "after"}, "setup: and teardown: stand beside flow:, in the scenario"},
	{[]string{"get", "post", "put", "delete", "patch", "GET", "POST", "PUT", "DELETE", "PATCH", "url", "method", "request", "path"}, "write http: {method: GET, url: /path}"},
	{[]string{"retry", "retries", "tryMax", "try", "attempts"}, "write on_failure: {retry: {attempts: 3}}"},
	{[]string{"assert", "assertions", "asserts", "check", "validate"}, "write checks: {name: condition}, or expect: condition"},
	{[]string{"capture", "save", "saveAs", "save_as"}, "write extract: {name: json.path}"},
	{[]string{"metrics", "metric", "counter", "rate", "gauge", "trend", "measure", "record", "emit", "increment"}, "write add: {name: value}, for a metric that the scenario declares: metrics: {name: counter}, or rate, gauge or trend"},
}

// hintOf returns the hint for a key that habit explains, empty for none.
func hintOf(key string) string {
	for _, h := range habits {
		if slices.Contains(h.keys, key) {
			return h.hint
		}
	}
	return ""
}

// habit reports the first key of an entry that only habit explains, and whether there is one. A mapping in an entry with
// a name may be the request of a protocol, which only the compiler knows.
func habit(n *block.Node, errs *block.Errors) bool {
	named := n.Get("name") != nil
	for _, k := range n.Keys {
		if hint := hintOf(k.Name); hint != "" && (!named || k.Value.Kind != block.Map) {
			errs.Add(k.Pos, block.Join(n.Path, k.Name), "unknown key %q", k.Name).Hint = hint
			return true
		}
	}
	return false
}

// HintOf returns the hint for what is not a list of entries.
func (*Choose) HintOf(k block.Key) string {
	if k.Name == "choose" {
		return "write choose: [{weight: 3, steps: […]}, {weight: 1, steps: […]}]"
	}
	return hintOfSteps(k)
}

// HintOf returns the hint for a key that holds the steps elsewhere.
func (*Group) HintOf(k block.Key) string { return hintOfSteps(k) }

// HintOf returns the hint for a key that holds the steps elsewhere.
func (*Repeat) HintOf(k block.Key) string { return hintOfSteps(k) }

// HintOf returns the hint for a key that holds the steps elsewhere.
func (*When) HintOf(k block.Key) string { return hintOfSteps(k) }

// HintOf returns the hint for a key that holds the steps elsewhere.
func (*Chance) HintOf(k block.Key) string { return hintOfSteps(k) }

// hintOfSteps returns the hint for a key by which other tools call the steps of a construct, empty for another.
func hintOfSteps(k block.Key) string {
	switch k.Name {
	case "children", "do", "body", "actions", "requests", "tasks", "items", "flow", "run", "exec", "then":
		return "write steps: […]"
	case "on_failure":
		return "it stands in each request: a request is tried again, not several"
	}
	return ""
}

// HintOf returns the hint for keys of loops elsewhere.
func (*overKeys) HintOf(k block.Key) string {
	switch k.Name {
	case "in", "items", "list", "over", "of":
		return "write each: products, as: product, at_most: 100"
	case "times", "n", "iterations":
		return "write repeat: 3, or count: …, at_most: 100"
	case "counter", "i", "counterName", "var":
		return "write index: n"
	case "max", "limit", "max_iterations":
		return "write at_most: 100"
	case "until":
		return "write while: condition, at_most: 100, with the opposite condition"
	case "for", "duration":
		return "write during: 30s"
	}
	return ""
}

// HintOf returns the hint for a number of attempts without its key.
func (*retryOnly) HintOf(k block.Key) string {
	if k.Name == retry && k.Value.Kind != block.Map {
		return "write retry: {attempts: 3}, or on_failure: retry"
	}
	return ""
}

// shapes reports keys of a step whose values have the shape that other tools have there. It returns the keys that are right.
func shapes(keys []block.Key, errs *block.Errors) (right []block.Key) {
	for _, k := range keys {
		v, hint := k.Value, ""
		switch {
		case k.Name == "expect" && v.Kind == block.List:
			hint = "write status in [200, 201]"
		case k.Name == "expect" && v.Kind == block.Map:
			hint = "write a condition: status == 200"
		case k.Name == "checks" && v.Kind == block.List:
			hint = "each check has a name: write {is ok: status == 200}"
		case k.Name == "extract" && v.Kind == block.List:
			hint = "write {id: json.id}"
		}
		if hint == "" {
			if k.Name != "extract" || !extractors(v, errs) {
				right = append(right, k)
			}
			continue
		}
		errs.Add(v.Pos, v.Path, "must be %s, got %s", map[bool]string{true: "a condition", false: "a mapping of names"}[k.Name == "expect"], v.Found()).Hint = hint
	}
	return right
}

// extractors reports values of extract that are mappings, as other tools have them, and whether there are any.
func extractors(extract *block.Node, errs *block.Errors) (found bool) {
	if extract == nil || extract.Kind != block.Map {
		return false
	}
	for _, k := range extract.Keys {
		v := k.Value
		if v == nil || v.Kind != block.Map {
			continue
		}
		hint := "write json.id, header(\"Name\"), regex(body, \"id=(\\\\d+)\"), css(\".price\"), xpath(\"//@id\") or cookie(\"session\")"
		for _, form := range []struct{ keys, hint string }{
			{"css html selector", `write css(".price"), or css("a.next", "href") for an attribute`},
			{"xpath xml", `write xpath("//order/@id")`},
			{"regex regexp pattern", `write regex(body, "id=(\\d+)"), with the number or name of a group as third where there are several`},
			{"header", `write header("Location")`},
			{"cookie", `write cookie("session")`},
			{"json jsonpath jsonPath path", `write json.id, or json.id | default(0)`},
		} {
			if slices.ContainsFunc(v.Keys, func(k block.Key) bool { return slices.Contains(strings.Fields(form.keys), k.Name) }) {
				hint = form.hint
				break
			}
		}
		errs.Add(v.Pos, v.Path, "must be an expression, got %s", v.Found()).Hint = hint
		found = true
	}
	return found
}

// misplaced reports steps and names that stand within the value of a construct instead of beside it.
func misplaced(n *block.Node, key string, errs *block.Errors) bool {
	v := n.Get(key)
	if v.Kind != block.Map || v.Get("steps") == nil {
		return false
	}
	hint := "write " + key + ": …, and steps: […] beside it"
	if name := v.Get("name"); name != nil {
		hint = strings.Replace(hint, "…", name.Scalar, 1)
	}
	errs.Add(v.Pos, v.Path, "steps stand beside %s, in the same entry", key).Hint = hint
	return true
}

// onFailureHabits are words of other tools for what follows a failure.
var onFailureHabits = map[string]string{
	"abort": "write stop_iteration", "stop": "write stop_iteration", "exit": "write stop_iteration", "fail": "write stop_iteration", "break": "write stop_iteration",
	"stop_thread": "write stop_iteration", "start_next_loop": "write stop_iteration", "ignore": "write continue", "next": "write continue", "skip": "write continue",
}
