package objective

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
)

func decode(text string) (c Config, err error) {
	var errs block.Errors
	block.Decode(block.Parse("x.yaml", []byte(text), &errs), &c, &errs)
	return c, errs.Err()
}

func TestWhatObjectivesSay(t *testing.T) {
	for _, c := range []struct {
		that   string
		want   Objective
		budget float64
	}{
		{"p(95) < 500ms", Objective{Kind: Latency, Quantile: 0.95, Limit: 0.5, Unit: Seconds, Less: true}, 0.05},
		{"p95<500ms", Objective{Kind: Latency, Quantile: 0.95, Limit: 0.5, Unit: Seconds, Less: true}, 0.05},
		{" p( 99.9 ) <= 1m30s ", Objective{Kind: Latency, Quantile: 0.999, Limit: 90, Unit: Seconds, Less: true}, 0.001},
		{"p99.9 < 2s", Objective{Kind: Latency, Quantile: 0.999, Limit: 2, Unit: Seconds, Less: true}, 0.001},
		{"p50 < 200ms", Objective{Kind: Latency, Quantile: 0.5, Limit: 0.2, Unit: Seconds, Less: true}, 0.5},
		{"error_ratio < 0.1%", Objective{Kind: ErrorRatio, Limit: 0.001, Unit: Ratio, Less: true}, 0.001},
		{"error_ratio <= 0.001", Objective{Kind: ErrorRatio, Limit: 0.001, Unit: Ratio, Less: true}, 0.001},
		{"availability > 99.9%", Objective{Kind: Availability, Limit: 0.999, Unit: Ratio}, 0.001},
		{"check_ratio >= 99 %", Objective{Kind: CheckRatio, Limit: 0.99, Unit: Ratio}, 0.01},
		{`check_ratio("has a token (v2)") > 99%`, Objective{Kind: CheckRatio, Check: "has a token (v2)", Limit: 0.99, Unit: Ratio}, 0.01},
		{"rate > 50/s", Objective{Kind: Rate, Limit: 50, Unit: PerSecond}, math.NaN()},
		{"rate > 120 / m", Objective{Kind: Rate, Limit: 2, Unit: PerSecond}, math.NaN()},
		{"p(95) of processing_time < 2s", Objective{Kind: Latency, Quantile: 0.95, Limit: 2, Unit: Seconds, Less: true}, 0.05},
		{"p95 of order_size < 20", Objective{Kind: Latency, Quantile: 0.95, Limit: 20, Less: true}, 0.05},
		{"p(99) of page_size <= 50kB", Objective{Kind: Latency, Quantile: 0.99, Limit: 50000, Unit: "bytes", Less: true}, 0.01},
		{"login_success > 99%", Objective{Kind: MetricRatio, Limit: 0.99, Unit: Ratio}, 0.01},
	} {
		config, err := decode(fmt.Sprintf("{name: x, that: %q}", c.that))
		if err != nil {
			t.Errorf("%s: %v", c.that, err)
			continue
		}
		got := config.Compile(Place{Scenario: "shop", Step: "login", Target: "web", PerIteration: 3})
		c.want.Scenario, c.want.Step, c.want.Target, c.want.PerIteration = "shop", "login", "web", 3
		if name := regexp.MustCompile(`^\w+ >|of (\w+)`).FindString(c.that); strings.Contains(c.that, " of ") || c.want.Kind == MetricRatio {
			c.want.Step, c.want.Metric, c.want.PerIteration = strings.TrimSuffix(strings.TrimPrefix(name, "of "), " >"), true, 0
		}
		c.want.Name, c.want.That, c.want.Window, c.want.Severity = "x", c.that, 5*time.Minute, Warning
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.that, diff)
		}
		if b := got.Budget(); b != c.budget && !(math.IsNaN(b) && math.IsNaN(c.budget)) {
			t.Errorf("%s: budget %v, want %v", c.that, b, c.budget)
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{that: p95 < 1s}`, "x.yaml:1:1: name: is required"},
		{`{name: "", that: p95 < 1s}`, "x.yaml:1:8: name: must not be empty"},
		{`{name: a}`, "x.yaml:1:1: that: is required"},
		{`{name: a, that: p95 < 1s, severity: warn}`, "x.yaml:1:37: severity: must be warning, critical or info, got \"warn\"\n\thint: known are warning, critical, info"},
		{`{name: a, that: p95 < 1s, window: 0s}`, "x.yaml:1:35: window: must be more than 0s and at most 30d, got 0s"},
		{`{name: a, that: p95 < 1s, window: 31d}`, "x.yaml:1:35: window: must be more than 0s and at most 30d, got 744h"},
		{`{name: a, that: p95 < 1s, windows: 1m}`, "x.yaml:1:27: windows: unknown key \"windows\"\n\thint: did you mean \"window\"?"},
	} {
		if _, err := decode(c.text); err == nil || err.Error() != c.want {
			t.Errorf("%s:\n%v\nwant\n%s", c.text, err, c.want)
		}
	}
}

func TestMistakesInWhatItSays(t *testing.T) {
	const all = "known are p(95) < 500ms, error_ratio < 0.1%, availability > 99.9%, check_ratio > 99%, rate > 50/s"
	for _, c := range []struct{ that, problem, hint string }{
		{"fast", `must be a condition such as p(95) < 500ms, got "fast"`, all},
		{"p(95) 500ms", `must be a condition such as p(95) < 500ms, got "p(95) 500ms"`, all},
		{"p(95) > 500ms", `must compare with <, got ">"`, "p must be low to be good: write p(95) < 500ms"},
		{"p(95) = 500ms", `must compare with <, got "="`, "p must be low to be good: write p(95) < 500ms"},
		{"error_ratio > 1%", `must compare with <, got ">"`, "error_ratio must be low to be good: write error_ratio < 0.1%"},
		{"availability < 99%", `must compare with >, got "<"`, "availability must be high to be good: write availability > 99.9%"},
		{"rate < 50/s", `must compare with >, got "<"`, "rate must be high to be good: write rate > 50/s"},
		{"p < 1s", "p needs to know which percentile", "write p(95) for the time within which 95 % are answered"},
		{"p(x) < 1s", "the percentile must be a number between 0 and 100, got x", "write p(95) or p(99.9)"},
		{"p(100) < 1s", "the percentile must be a number between 0 and 100, got 100", "write p(95) or p(99.9)"},
		{"p(0.95) < 1s", "the percentile must be 1 or more, got 0.95", "percentiles count to 100: write p(95)"},
		{"p95(99) < 1s", "has two arguments, 95 and 99", "write p(95) or p95"},
		{"p(95) < 500", "a duration needs a unit, got 500", "write 500ms or 500s"},
		{"p(95) < 5%", `the limit must be a duration such as 500ms, got "5%"`, ""},
		{"p(95) < ", `the limit must be a duration such as 500ms, got ""`, ""},
		{"p(95) < 2h", "the limit must be more than 0s and at most 1h, got 2h", ""},
		{"error_rate < 1%", `unknown value "error_rate"`, `did you mean "error_ratio"?`},
		{"rate95 > 1/s", `unknown value "rate95"`, `did you mean "rate"?`},
		{"error_ratio < 0", "the limit must be between 0 % and 100 %, got 0", "no number of events proves that there is never an exception: say how rare it must be"},
		{"check_ratio > 100%", "the limit must be between 0 % and 100 %, got 100%", "no number of events proves that there is never an exception: say how rare it must be"},
		{"availability > 99.9", "the limit must be between 0 % and 100 %, got 99.9", "write 99.9%"},
		{"error_ratio < -1%", "the limit must be between 0 % and 100 %, got -1%", ""},
		{"error_ratio < 10ms", `the limit must be a share such as 0.1% or 0.001, got "10ms"`, ""},
		{"error_ratio(x) < 1%", "error_ratio takes no argument, got x", "leave it away"},
		{"check_ratio(has a token) > 99%", "the check's name must stand in double quotes, got has a token", `write check_ratio("has a token") > 99%`},
		{"rate > 50", "a rate needs a unit of time, got 50", "write 50/s or 50/m"},
		{"rate > 50/y", `the limit must be a rate such as 50/s, got "50/y"`, ""},
		{"rate > 0/s", "the limit must be more than 0/s, got 0/s", ""},
	} {
		want := "x.yaml:1:17: that: " + c.problem
		if c.hint != "" {
			want += "\n\thint: " + c.hint
		}
		if _, err := decode(fmt.Sprintf("{name: a, that: '%s'}", c.that)); err == nil || err.Error() != want {
			t.Errorf("%s:\n%v\nwant\n%s", c.that, err, want)
		}
	}
}

func TestSecretsStayHidden(t *testing.T) {
	n := &block.Node{Kind: block.Map, Keys: []block.Key{
		{Name: "name", Value: &block.Node{Kind: block.String, Scalar: "a", Path: "name"}},
		{Name: "that", Value: &block.Node{Kind: block.String, Scalar: "hunter2", Hidden: true, Path: "that"}},
	}}
	var errs block.Errors
	block.Decode(n, new(Config), &errs)
	if got, want := fmt.Sprint(errs.Err()), "that: is no condition that an objective may have"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestSchemaKnowsEveryKey(t *testing.T) {
	properties := block.Schema(Config{})["properties"].(map[string]any)
	for _, key := range []string{"name", "that", "window", "severity"} {
		if properties[key] == nil {
			t.Errorf("the schema does not know %q", key)
		}
	}
}
