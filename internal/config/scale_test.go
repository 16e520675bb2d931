package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/protocol"
)

// unscaledKeys says why a rehearsal leaves the durations, rates and numbers of some keys of the schema as they are. One
// that ends in a dot stands for all below it.
var unscaledKeys = []struct {
	why  string
	keys []string
}{
	{"waits for an answer, which takes as long as it takes", []string{
		"$defs.flow.timeout", "$defs.flow.on_failure.retry.attempts", "$defs.flow.on_failure.retry.back_off", "$defs.flow.on_failure.retry.max_wait",
		"$defs.flow.within", "scenarios.workload.graceful_stop", "scenarios.workload.graceful_ramp_down", "safety.back_off.after",
	}},
	{"is how a stream that was lost is opened again", []string{
		"$defs.flow.websocket.reconnect.", "$defs.flow.grpc.reconnect.", "$defs.flow.http.events.reconnect.",
	}},
	{"is a part of what is asked, or of how the answer is read", []string{
		"$defs.flow.http.redirects", "$defs.flow.http.events.count", "$defs.flow.websocket.close", "$defs.flow.grpc.lifetime",
		"$defs.flow.tcp.", "$defs.flow.udp.", "$defs.flow.dns.",
	}},
	{"is a limit, and no load", []string{
		"safety.max_request_rate", "targets.limits.request_rate", "scenarios.workload.max_lateness", "scenarios.validity.max_lateness",
	}},
	{"is how the target is reached", []string{
		"targets.limits.connections",
	}},
	{"is how the target is watched, which takes time of its own", []string{"targets.release.every", "targets.resources.every", "targets.resources.for"}},
	{"keeps or sends what was measured", []string{
		"history.",
	}},
	{"cuts results and no load", []string{"scenarios.schedule.cut", "suites.schedule.cut"}},
	{"is of a source that goes as fast as it goes; the times of a file are scaled when it is read", []string{
		"scenarios.workload.replay.offset", "scenarios.workload.replay.per", "scenarios.workload.replay.step",
	}},
	{"counts parts of a shape, or draws them", []string{
		"scenarios.workload.randomized.levels", "scenarios.workload.randomized.seed", "scenarios.workload.repeat.from", "scenarios.workload.repeat.times",
		"scenarios.workload.seed", "scenarios.workload.stairs.levels",
	}},
	{"is what one virtual user does; shared iterations are scaled", []string{
		"scenarios.workload.iterations", "$defs.flow.repeat.at_most", "$defs.flow.parallel.at_most", "$defs.flow.limit", "$defs.flow.keep", "scenarios.metrics.labels.at_most",
	}},
}

// Every duration, rate and whole number of the schema is scaled by a rehearsal, or in the list of those that are not.
func TestEveryKeyIsScaledOrSaysWhyNot(t *testing.T) {
	text, err := Schema(builtin.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	// Nor is what kinds say: how connections are made, credentials got, results judged and sent.
	kinds := builtin.Kinds()
	beside := []string{"credentials."}
	for _, k := range kinds.Protocols {
		beside = append(beside, "targets."+k.Name+".", "scenarios."+k.Name+".")
	}
	for _, k := range kinds.Analyses {
		beside = append(beside, "scenarios."+k.Name+".")
	}
	for _, f := range sections(kinds.Outputs) {
		if block.FieldNamed(block.Fields(reflect.TypeFor[Document]()), f.Name) == nil {
			beside = append(beside, f.Name+".")
		}
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{} // of the list; true once it was found in the schema
	for _, u := range unscaledKeys {
		for _, key := range u.keys {
			left[key] = false
		}
	}
	scaledKeys := 0
	var walk func(path string, s map[string]any)
	walk = func(path string, s map[string]any) {
		if s["x-scale"] != nil {
			scaledKeys++
			return
		}
		if measure(s) {
			known := slices.ContainsFunc(beside, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
			for key := range left {
				if key == path || strings.HasSuffix(key, ".") && strings.HasPrefix(path, key) {
					known, left[key] = true, true
				}
			}
			if !known {
				t.Errorf("%s is neither scaled nor left as it is for a reason", path)
			}
		}
		for _, of := range []string{"properties", "$defs"} {
			inner, _ := s[of].(map[string]any)
			for _, name := range slices.Sorted(maps.Keys(inner)) {
				if p, ok := inner[name].(map[string]any); ok {
					at := name
					if of == "$defs" {
						at = "$defs." + name
					}
					walk(strings.TrimPrefix(path+"."+at, "."), p)
				}
			}
		}
		for _, of := range []string{"items", "additionalProperties"} {
			if inner, ok := s[of].(map[string]any); ok {
				walk(path, inner)
			}
		}
		for _, of := range []string{"anyOf", "oneOf", "allOf"} {
			list, _ := s[of].([]any)
			for _, one := range list {
				if inner, ok := one.(map[string]any); ok && !measure(inner) {
					walk(path, inner)
				}
			}
		}
	}
	walk("", schema)
	for key, found := range left {
		if !found {
			t.Errorf("%s is no key, or is scaled", key)
		}
	}
	if scaledKeys < 40 {
		t.Errorf("%d keys are scaled", scaledKeys)
	}
}

// measure reports whether a schema is of a duration, a rate or a whole number, one form of which is enough.
func measure(s map[string]any) bool {
	pattern, _ := s["pattern"].(string)
	if s["type"] == "integer" || strings.Contains(pattern, "(ns|us") || strings.Contains(pattern, "(ms|s|m|h|d)") {
		return true
	}
	list, _ := s["anyOf"].([]any)
	return slices.ContainsFunc(list, func(one any) bool {
		inner, ok := one.(map[string]any)
		return ok && measure(inner)
	})
}

func TestScaledDocuments(t *testing.T) {
	const scenario = `
targets: [{name: shop, url: "http://127.0.0.1:9798"}]
scenarios:
  - name: s
    target: shop
    schedule: %s
    workload: %s
    flow: [{name: home, http: {url: /}}, {think: {uniform: [30s, 90s]}}]
`
	for _, c := range []struct{ scale, schedule, workload, want, err string }{
		{"{time: 60, load: 0.02}", "{manual: true}", "{executor: ramping-vus, start_vus: 0, stages: [{duration: 10m, target: 10000}, {duration: 1h, target: 20}, {duration: 1m, target: 0}]}", "ramping-vus: 0 VUs → 200 VUs over 10s, then → 1 VU over 1m, then → 0 VUs over 1s", ""},
		{"{load: 0.02}", "{manual: true}", "{executor: constant-arrival-rate, rate: 1000/m, duration: 1h, max_vus: 20}", "constant-arrival-rate: 20/m for 1h", ""},
		{"{load: 0.333333}", "{manual: true}", "{executor: ramping-arrival-rate, start_rate: 7/s, stairs: {from: 7/s, step: 13/s, levels: 3, hold: 1m}, max_vus: 20}", "ramping-arrival-rate: 2.333331/s, then 3 levels from 2.333331/s to 10.999989/s, each for 1m", ""},
		{"{time: 3600, load: 0.1}", "{manual: true}", "{executor: ramping-vus, sine: {low: 10, high: 11, peak: 14h}}", "24s", ""},
		{"{load: 0.1}", "{manual: true}", "{executor: shared-iterations, vus: 20, iterations: 105}", "shared-iterations: 11 iterations shared by 2 VUs", ""},
		{"{load: 0.1}", "{manual: true}", "{executor: per-vu-iterations, vus: 20, iterations: 100}", "per-vu-iterations: 100 iterations of each of 2 VUs", ""},
		{"{time: 60}", "{manual: true, duration: 1h}", "{executor: constant-vus, vus: 5, duration: 10m, warm_up: 2m}", "constant-vus: 5 VUs for 10s", ""},
		{"{time: 0.5}", "{manual: true}", "{executor: constant-vus}", "", "scale.time: must be between 1 and 100000, got 0.5"},
		{"{load: 2}", "{manual: true}", "{executor: constant-vus}", "", "scale.load: must be more than 0 and at most 1, got 2"},
		{"{time: 60}", "{every: 30s, duration: 10s}", "{executor: constant-vus}", "", "schedule.every: scaled: time 1/60, load 1: must be at least 1s, got 500ms"},
		{"{time: 60}", "{every: 30m, duration: 10m}", "{executor: constant-vus, vus: 0}", "", "vus: must be between 1 and 1000000, got 0"},
	} {
		file := filepath.Join(t.TempDir(), "perfd.yaml")
		if err := os.WriteFile(file, []byte("scale: "+c.scale+fmt.Sprintf(scenario, c.schedule, c.workload)), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Load(Options{File: file, Kinds: builtin.Kinds(), Environ: []string{}})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s of %s: %v, want %s", c.scale, c.workload, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s of %s: %v", c.scale, c.workload, err)
			continue
		}
		s := d.Scenarios[0]
		if got := s.Workload.Describe(); !strings.Contains(got, c.want) {
			t.Errorf("%s of %s: %s, want %s", c.scale, c.workload, got, c.want)
		}
		if want := 60 / d.Scale.Time; s.Program.Think.Seconds() < want*0.999 || s.Program.Think.Seconds() > want*1.001 {
			t.Errorf("%s: it thinks for %v, want %vs", c.scale, s.Program.Think, want)
		}
		if d.Scenarios[0].Schedule.Duration > 0 && d.Scenarios[0].Schedule.Duration.D().Hours() > 1/d.Scale.Time+1e-9 {
			t.Errorf("%s: runs last %s", c.scale, d.Scenarios[0].Schedule.Duration)
		}
	}
}

// What a user of streams does for a time is done for a shorter one, whichever protocol it is, and what an objective shows is of a
// shorter time, written or not. What waits for the target is left.
func TestStreamsAndWindowsOfARehearsal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "perfd.yaml")
	const text = `
targets: [{name: shop, url: "http://127.0.0.1:9798"}]
scenarios:
  - name: s
    target: shop
    workload: {executor: constant-vus}
    checks: {at_least: 99%}
    objectives: [{name: as it is, that: error_ratio < 1%}, {name: written, that: "availability > 99%", window: 5m}, {name: long, that: p(95) < 1s, window: 1h}]
    flow:
      - {name: open, websocket: {url: /, ping_every: 1m}, timeout: 1m, checks: {is open: status == 101}}
      - {name: watch, websocket: {listen: 1m}, timeout: 1m}
      - {name: feed, http: {url: /feed, events: {listen: 1m, reconnect: {back_off: 1m, max_wait: 2m}}}, timeout: 1m}
      - {name: stock, grpc: {method: a.B/C, stream: x, listen: 1m, lifetime: 1h}, timeout: 1m}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	kinds := builtin.Kinds()
	blocks := map[string]any{} // what each protocol decoded last, by its name
	kinds.Protocols = slices.Clone(kinds.Protocols)
	for i := range kinds.Protocols {
		k := &kinds.Protocols[i]
		step := k.Step
		k.Step = func() protocol.Config {
			c := step()
			blocks[k.Name] = c
			return c
		}
	}
	d, err := Load(Options{File: file, Kinds: kinds, Environ: []string{}, Flags: map[string]string{"scale.time": "60"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string][]string{"websocket": {"Listen"}, "http": {"Events", "Listen"}, "grpc": {"Listen"}} {
		v := reflect.ValueOf(blocks[name])
		for _, field := range path {
			v = reflect.Indirect(v).FieldByName(field)
		}
		if got := v.Interface().(block.Duration).D(); got != time.Second {
			t.Errorf("%s: %v is %v, want 1s", name, path, got)
		}
	}
	events := reflect.Indirect(reflect.Indirect(reflect.ValueOf(blocks["http"])).FieldByName("Events")).FieldByName("Reconnect")
	if got := events.Interface().(*protocol.Reconnect); got.BackOff.D() != time.Minute || got.MaxWait.D() != 2*time.Minute {
		t.Errorf("it reconnects after %+v, want as it is written", got)
	}
	windows := map[string]time.Duration{}
	for _, o := range d.Scenarios[0].Judged {
		windows[o.Name] = o.Window
	}
	if want := (map[string]time.Duration{"as it is": 5 * time.Second, "written": 5 * time.Second, "long": time.Minute, "check is open": 5 * time.Second}); !maps.Equal(windows, want) {
		t.Errorf("windows %v, want %v", windows, want)
	}
	d, err = Load(Options{File: file, Kinds: builtin.Kinds(), Environ: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range d.Scenarios[0].Judged {
		if want := map[string]time.Duration{"long": time.Hour}[o.Name]; o.Window != max(want, 5*time.Minute) {
			t.Errorf("without a rehearsal the window of %s is %v", o.Name, o.Window)
		}
	}
}

// A flag takes the place of what the file says, other scenarios are those of another observer, and what is not scaled is
// warned of.
func TestARehearsalIsAnother(t *testing.T) {
	file := filepath.Join(t.TempDir(), "perfd.yaml")
	const text = `
targets: [{name: shop, url: "http://127.0.0.1:9798"}]
blackouts: [{name: backup, from: "03:00", to: "04:30"}]
scenarios:
  - name: s
    target: shop
    schedule: {cron: 0 * * * *, duration: 30m}
    workload: {executor: constant-vus, vus: 100}
    flow: [{name: home, http: {url: /}}]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func(flags map[string]string) *Document {
		d, err := Load(Options{File: file, Kinds: builtin.Kinds(), Environ: []string{}, Flags: flags})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	as, rehearsal := load(nil), load(map[string]string{"scale.time": "60", "scale.load": "0.02"})
	a, b := as.Scenarios[0], rehearsal.Scenarios[0]
	if a.Fingerprint == b.Fingerprint || a.Shape == b.Shape {
		t.Error("a rehearsal has the fingerprint of what it rehearses")
	}
	if as.Scale.On() || rehearsal.Scale.String() != "scaled: time 1/60, load 0.02" || b.Schedule.Duration.String() != "30s" || b.Workload.Peak() != 2 {
		t.Errorf("%q: runs of %s with %v users", rehearsal.Scale, b.Schedule.Duration, b.Workload.Peak())
	}
	if n := len(as.Misfits()); n != 0 {
		t.Errorf("%d warnings without a rehearsal", n)
	}
	var warned []string
	for _, m := range rehearsal.Misfits() {
		warned = append(warned, m.Path)
	}
	if want := []string{"blackouts", "scenarios[0].schedule.cron"}; !slices.Equal(warned, want) {
		t.Errorf("warned of %q, want %q", warned, want)
	}
}
