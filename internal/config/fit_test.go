package config

import (
	"strings"
	"testing"
)

func TestWhatCannotGoTogetherIsSaid(t *testing.T) {
	t.Chdir(t.TempDir())
	const head = "safety: {max_request_rate: 100/s}\ntargets: [{name: t, url: \"http://127.0.0.1:1\"%s}]\nscenarios:\n"
	scenario := func(name, workload, flow string) string {
		return "  - {name: " + name + ", target: t, workload: {" + workload + "}, flow: [" + flow + "]}\n"
	}
	const one = `{name: a, http: {url: /}}`
	for _, c := range []struct {
		name, target, scenarios string
		want                    []string // of each warning, in order
	}{
		{"what fits", ", limits: {connections: 30}", scenario("s", "executor: constant-arrival-rate, rate: 50/s, max_vus: 30", one), nil},
		{
			"a rate over the cap", "", scenario("s", "executor: constant-arrival-rate, rate: 150/s, max_vus: 30", one),
			[]string{"perfd.yaml:4:36: scenarios[0].workload: asks for 150 requests/s of target t at its peak, and safety.max_request_rate allows 100/s"},
		},
		{
			"iterations of several requests", "", scenario("s", "executor: constant-arrival-rate, rate: 60/s, max_vus: 30", one+`, {name: b, http: {url: /}}`),
			[]string{"asks for 120 requests/s"},
		},
		{
			"a target's own limit", ", limits: {request_rate: 10/s}", scenario("s", "executor: ramping-arrival-rate, stages: [{duration: 1m, target: 20/s}], repeat: {from: 0}, max_vus: 30", one),
			[]string{"limits.request_rate allows 10/s"},
		},
		{
			"a first pass over the cap, which an always-on scenario never plays", "", scenario("s", "executor: ramping-arrival-rate, start_rate: 900/s, stages: [{duration: 1m, target: 500/s}, {duration: 0s, target: 20/s}, {duration: 1m, target: 20/s}], repeat: {from: 2}, max_vus: 30", one),
			nil,
		},
		{
			"and one that begins at its hour does", "", strings.Replace(scenario("s", "executor: ramping-arrival-rate, start_rate: 900/s, stages: [{duration: 1m, target: 500/s}, {duration: 0s, target: 20/s}, {duration: 1m, target: 20/s}], repeat: {from: 2}, max_vus: 30", one), "target: t,", "target: t, schedule: {every: 1d, duration: 1h},", 1),
			[]string{"asks for 900 requests/s"},
		},
		{
			"closed users that think", "", scenario("s", "executor: constant-vus, vus: 500", one+`, {think: 2s}`),
			[]string{"may come to 250 requests/s"},
		},
		{
			"scenarios together", "", scenario("s", "executor: constant-arrival-rate, rate: 60/s, max_vus: 30", one) + scenario("m", "executor: constant-arrival-rate, rate: 60/s, max_vus: 30", one),
			[]string{"perfd.yaml:2:18: targets[0].name: the 2 scenarios on target t ask for 120 requests/s together"},
		},
		{
			"thinking for longer than there are users", "", scenario("s", "executor: constant-arrival-rate, rate: 10/s, max_vus: 30", one+`, {think: 5s}`),
			[]string{"scenarios[0].workload: 10 iterations/s that think for 5s each need 50 virtual users, and there are at most 30"},
		},
		{
			"an objective that cannot be missed", "", scenario("s", "executor: constant-arrival-rate, rate: 50/s, max_vus: 20", `{name: a, http: {url: /}, objectives: [{name: p, that: p(95) < 500ms}]}`),
			[]string{"with an answer that is as slow as an objective allows (500ms) need 25 virtual users, and there are at most 20"},
		},
		{
			"users without connections", ", limits: {connections: 10}", scenario("s", "executor: constant-vus, vus: 30", one),
			[]string{"up to 30 virtual users, each with a connection of its own, and limits.connections allows 10"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, map[string]string{"perfd.yaml": strings.Replace(head, "%s", c.target, 1) + c.scenarios})
			got := mustLoad(t, Options{}).Misfits()
			if len(got) != len(c.want) {
				t.Fatalf("warnings %v, want %q", got, c.want)
			}
			for i, want := range c.want {
				if text := got[i].Error(); !strings.Contains(text, want) {
					t.Errorf("warning %q, want %q in it", text, want)
				}
			}
		})
	}
}
