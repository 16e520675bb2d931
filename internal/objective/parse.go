package objective

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
)

// clause splits "p(95) < 500ms" and "p95 < 500ms" into name, digits, argument,
// operator and limit.
var clause = regexp.MustCompile(`^([A-Za-z_]+)([0-9][0-9.]*)?\s*(?:\(\s*("(?:[^"\\]|\\.)*"|[^()"]*?)\s*\))?\s*(<=|>=|==|!=|<|>|=)\s*(.*)$`)

// ofMetric splits "p(95) of processing_time < 2s" into statistic, metric and the rest.
var ofMetric = regexp.MustCompile(`^([A-Za-z_]+[0-9.]*\s*(?:\([^()]*\))?)\s+of\s+([A-Za-z_][A-Za-z0-9_]*)\s*([<>=!].*)$`)

// A written is a clause divided into its parts.
type written struct{ name, argument, operator, limit string }

// parse reads a clause. On a mistake it returns what is wrong, with what was found,
// and a hint.
func parse(that string) (o Objective, problem, hint string) {
	metric := ""
	if of := ofMetric.FindStringSubmatch(strings.TrimSpace(that)); of != nil {
		that, metric = of[1]+" "+of[3], of[2]
	}
	m := clause.FindStringSubmatch(strings.TrimSpace(that))
	if m == nil {
		return o, fmt.Sprintf("must be a condition such as p(95) < 500ms, got %q", that), examples()
	}
	w := written{name: m[1], argument: m[3], operator: m[4], limit: strings.TrimSpace(m[5])}
	if m[2] != "" {
		if w.argument != "" {
			return o, fmt.Sprintf("has two arguments, %s and %s", m[2], w.argument), "write " + m[1] + "(" + m[2] + ") or " + m[1] + m[2]
		}
		w.argument = m[2]
	}
	k := kindNamed(w.name)
	if k != nil && k.kind == Latency && metric != "" {
		k = &ofValues
	}
	if k == nil && m[2] == "" && w.argument == "" && metric == "" && strings.HasPrefix(w.operator, ">") && strings.HasSuffix(w.limit, "%") {
		k, metric = &metricRatio, w.name // whether there is one, its scenario knows
		k = named(k, metric)
	}
	if k == nil || metric != "" && k.kind != Latency && k.kind != MetricRatio || m[2] != "" && k.kind != Latency {
		hint = block.Nearest(m[1], kindNames())
		if k == nil && m[2] == "" && w.argument == "" && strings.HasPrefix(w.operator, "<") && !strings.HasPrefix(hint, "did you mean") {
			hint = fmt.Sprintf("%s; of a trend among the scenario's metrics write p(95) of %s < %s", hint, m[1], w.limit)
		}
		return o, fmt.Sprintf("unknown value %q", m[1]+m[2]), hint
	}
	o.Kind, o.Unit, o.Less = k.kind, k.unit, k.less
	if metric != "" {
		o.Step, o.Metric = metric, true
	}
	if problem, hint = k.operator(w); problem != "" {
		return o, problem, hint
	}
	if problem, hint = k.argument(&o, w); problem != "" {
		return o, problem, hint
	}
	problem, hint = k.limit(&o, w)
	return o, problem, hint
}

// named returns the description with the name of a metric.
func named(k *kindOf, name string) *kindOf {
	own := *k
	own.name, own.example = name, name+" > 99%"
	return &own
}

// operator checks that the comparison has the right direction.
func (k *kindOf) operator(w written) (problem, hint string) {
	want, sense := ">", k.name+" must be high to be good"
	if k.less {
		want, sense = "<", k.name+" must be low to be good"
	}
	if strings.HasPrefix(w.operator, want) {
		return "", ""
	}
	return fmt.Sprintf("must compare with %s, got %q", want, w.operator), fmt.Sprintf("%s: write %s", sense, k.example)
}

// quantile reads the argument of p.
func quantile(o *Objective, w written) (problem, hint string) {
	if w.argument == "" {
		return "p needs to know which percentile", "write p(95) for the time within which 95 % are answered"
	}
	q, err := strconv.ParseFloat(w.argument, 64)
	if err != nil || !(q > 0 && q < 100) {
		return fmt.Sprintf("the percentile must be a number between 0 and 100, got %s", w.argument), "write p(95) or p(99.9)"
	}
	if q < 1 {
		hint = fmt.Sprintf("percentiles count to 100: write p(%v)", math.Round(q*1e6)/1e4)
		return fmt.Sprintf("the percentile must be 1 or more, got %s", w.argument), hint
	}
	o.Quantile = math.Round(q*1e6) / 1e8
	return "", ""
}

// check reads the argument of check_ratio, the name of a check.
func check(o *Objective, w written) (problem, hint string) {
	if w.argument == "" {
		return "", ""
	}
	name, err := strconv.Unquote(w.argument)
	if err != nil || name == "" {
		return fmt.Sprintf("the check's name must stand in double quotes, got %s", w.argument), `write check_ratio("has a token") > 99%`
	}
	o.Check = name
	return "", ""
}

// noArgument refuses an argument.
func noArgument(_ *Objective, w written) (problem, hint string) {
	if w.argument != "" {
		return fmt.Sprintf("%s takes no argument, got %s", w.name, w.argument), "leave it away"
	}
	return "", ""
}

// duration reads a limit on response times.
func duration(o *Objective, w written) (problem, hint string) {
	d, err := block.ParseDuration(w.limit)
	switch {
	case w.limit != "" && isNumber(w.limit):
		return "a duration needs a unit, got " + w.limit, fmt.Sprintf("write %sms or %ss", w.limit, w.limit)
	case err != nil:
		return fmt.Sprintf("the limit must be a duration such as 500ms, got %q", w.limit), ""
	case d <= 0 || d > time.Hour:
		return fmt.Sprintf("the limit must be more than 0s and at most 1h, got %s", w.limit), ""
	}
	o.Limit = d.Seconds()
	return "", ""
}

// number reads a limit on the values of a trend: on durations, or on numbers, whose unit the scenario knows. That of a
// plain number is empty until then.
func number(o *Objective, w written) (problem, hint string) {
	v, err := strconv.ParseFloat(w.limit, 64)
	if err != nil {
		size, noSize := block.ParseSize(w.limit)
		if noSize != nil {
			return duration(o, w)
		}
		v, o.Unit = float64(size), load.UnitBytes
	} else {
		o.Unit = ""
	}
	if !(v > 0) || math.IsInf(v, 0) {
		return "the limit must be more than 0, got " + w.limit, ""
	}
	o.Limit = v
	return "", ""
}

// share reads a limit between 0 and 1. Both are refused: no evidence can prove them.
func share(o *Objective, w written) (problem, hint string) {
	v, err := block.ParseRatio(w.limit)
	switch {
	case err != nil:
		return fmt.Sprintf("the limit must be a share such as 0.1%% or 0.001, got %q", w.limit), ""
	case v == 0 || v == 1:
		return fmt.Sprintf("the limit must be between 0 %% and 100 %%, got %s", w.limit),
			"no number of events proves that there is never an exception: say how rare it must be"
	case v < 0 || v > 1:
		if isNumber(w.limit) && v > 0 && v < 100 {
			hint = fmt.Sprintf("write %s%%", w.limit)
		}
		return fmt.Sprintf("the limit must be between 0 %% and 100 %%, got %s", w.limit), hint
	}
	o.Limit = round(v)
	return "", ""
}

// rateUnits are the units of time of rates, in seconds.
var rateUnits = map[string]float64{"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}

// rate reads a limit per second.
func rate(o *Objective, w written) (problem, hint string) {
	count, unit, ok := strings.Cut(w.limit, "/")
	count = strings.TrimSpace(count)
	per := rateUnits[strings.TrimSpace(unit)]
	v, err := strconv.ParseFloat(count, 64)
	switch {
	case !ok && isNumber(w.limit):
		return "a rate needs a unit of time, got " + w.limit, fmt.Sprintf("write %s/s or %s/m", w.limit, w.limit)
	case err != nil || per == 0:
		return fmt.Sprintf("the limit must be a rate such as 50/s, got %q", w.limit), ""
	case !(v > 0) || math.IsInf(v, 0):
		return fmt.Sprintf("the limit must be more than 0/s, got %s", w.limit), ""
	}
	o.Limit = v / per
	return "", ""
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

func examples() string {
	var all []string
	for i := range kinds {
		if kinds[i].name != "" {
			all = append(all, kinds[i].example)
		}
	}
	return "known are " + strings.Join(all, ", ")
}
