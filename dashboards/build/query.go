package build

import "fmt"

// quantile is the q-quantile of a histogram, by some labels, from classic buckets or a native histogram as the variable
// says. Name is the family's without its unit; matchers are one of the selectors.
func quantile(q float64, by, name, matchers string) string {
	return fmt.Sprintf(`histogram_quantile(%v, sum by (%s) (rate(%s_${seconds}%s}[@])))`, q, labels("le", by), name, matchers)
}

// amounts is the q-quantile of a histogram without a unit in its name, by some labels: from classic buckets where there
// are some, or from a native histogram.
func amounts(q float64, by, name, matchers string) string {
	return fmt.Sprintf(`histogram_quantile(%[1]v, sum by (%[2]s) (rate(%[3]s_bucket%[4]s}[@]))) or histogram_quantile(%[1]v, sum by (%[5]s) (rate(%[3]s%[4]s}[@])))`,
		q, labels("le", by), name, matchers, by)
}

// rate is the increase per second of a counter, by some labels.
func rate(by, selector string) string {
	if by == "" {
		return `sum(rate(` + selector + `[@]))`
	}
	return `sum by (` + by + `) (rate(` + selector + `[@]))`
}

// failures is the share of requests that failed; what perfd itself cancelled is not one.
func failures(by, matchers string) string {
	return rate(by, `perfd_request_failures_total`+matchers+`, cause!="canceled"}`) + ` / (` + rate(by, `perfd_requests_total`+matchers+`}`) + ` > 0)`
}

// verdict is 0 for pass, 1 for inconclusive and 2 for fail, of each objective by all instances together. More than half of
// them must agree; where they do not, nothing is proven.
func verdict(matchers string) string {
	held := func(is string) string {
		return `(avg by (scenario, objective) (perfd_objective_verdict` + matchers + `, verdict="` + is + `"}) > bool 0.5)`
	}
	return `1 + ` + held("fail") + ` - ` + held("pass")
}

// worst is the worst verdict of each scenario.
func worst(matchers string) string { return `max by (scenario) (` + verdict(matchers) + `)` }

// explained is a metric of those objectives whose perfd_objective_info has the further matchers.
func explained(metric, matchers, further string) string {
	return fmt.Sprintf(`%s%s} and on (job, instance, scenario, objective) perfd_objective_info%s%s}`, metric, matchers, matchers, further)
}

// latencyLimit is the limits of the latency objectives of some steps, or of whole scenarios where step is "".
func latencyLimit(matchers, step string) string {
	return `max by (scenario, objective) (` + explained("perfd_objective_limit", matchers, `, unit="seconds", step`+step) + `)`
}

func labels(list ...string) string {
	out := ""
	for _, l := range list {
		if l != "" && out != "" {
			out += ", "
		}
		out += l
	}
	return out
}
