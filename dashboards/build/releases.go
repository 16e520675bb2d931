package build

// released gives the series of a scenario the release of the run that they belong to.
const released = ` * on (job, instance, scenario) group_left (release) max by (job, instance, scenario, release) (perfd_run_info{@scenario})`

// perRelease adds up what a counter or histogram counted in the time shown, by release.
func perRelease(by, selector string) string {
	return `sum by (` + by + `) (sum_over_time((sum by (job, instance, ` + labels("scenario", within(by, "le")) + `) (rate(` + selector + `[@]))` + released + `)[$__range:$__interval]))`
}

// within returns the label if the list names it.
func within(list, label string) string {
	if list == label || len(list) > len(label) && list[:len(label)+1] == label+"," {
		return label
	}
	return ""
}

func releases() *Dashboard {
	q := func(q string) string {
		return `histogram_quantile(` + q + `, ` + perRelease("le, scenario, release", `perfd_response_time_${seconds}{@step}`) + `)`
	}
	return newDashboard(question{
		uid: "perfd-releases", title: "perfd / Releases", from: "now-7d",
		asks:      "What did a release change? Each release beside the one before it, what perfd judges to be a regression, and changes that no release explains.",
		variables: []Variable{targetVariable, scenarioVariable, stepVariable, histogramVariable},
		rows: []row{
			{"Now", 7, []*Panel{
				table("Running", "The release of each target. It settles a while after a change; until then nothing is judged.", 7,
					column{title: "Target", label: "target"},
					column{title: "Release", label: "release"},
					column{expr: `max by (target, release) (perfd_target_release_info{@target})`},
					column{title: "Settled", expr: `min by (target) (perfd_target_release_settled{@target})`, look: coloured(words("no", warning, "yes", good))},
					column{title: "Changes in the time shown", unit: "none", expr: `max by (target) (increase(perfd_target_release_changes_total{@target}[$__range]))`, look: []Property{{"decimals", 0}}},
				),
				table("Worse than before", "What perfd can say of each scenario's release: worse, proven to be no worse, or not known yet.", 5,
					column{title: "Scenario", label: "scenario"},
					column{
						title: "Worse", expr: `1 + max by (scenario) (perfd_regression_verdict{@scenario, verdict="fail"}) - min by (scenario) (perfd_regression_verdict{@scenario, verdict="pass"})`,
						look: coloured(leaks),
					},
				),
				table("Regressions and changes", "Statistics that are worse than before, by how much, and the releases that were compared.", 12,
					column{title: "Scenario", label: "scenario", look: leads(open("Show ${__data.fields.Scenario}", "perfd-scenario", "scenario", "${__data.fields.Scenario}", "step", "${__data.fields.Step}"))},
					column{title: "Step", label: "step"},
					column{title: "Statistic", label: "statistic"},
					column{title: "Release", label: "release"},
					column{title: "Before", label: "baseline"},
					column{title: "Change", unit: "percentunit", expr: regressions("{@step")},
				).empty("Nothing is proven to be worse, which says nothing of what is not known yet.").sorted("Change"),
			}},
			{"Before and after", 8, []*Panel{
				table("Releases in the time shown", "All requests of each release, of the chosen scenarios and steps. A run belongs to the release with which it began.", 24,
					column{title: "Scenario", label: "scenario"},
					column{title: "Release", label: "release"},
					column{title: "Requests per second", unit: "reqps", expr: `avg by (scenario, release) (avg_over_time((sum by (scenario, release) (sum by (job, instance, scenario) (rate(perfd_requests_total{@step}[@]))` + released + `))[$__range:$__interval]))`},
					column{title: "Failed", unit: "percentunit", expr: perRelease("scenario, release", `perfd_request_failures_total{@step, cause!="canceled"}`) + ` / (` + perRelease("scenario, release", `perfd_requests_total{@step}`) + ` > 0)`},
					column{title: "p50", unit: "s", expr: q("0.5")},
					column{title: "p95", unit: "s", expr: q("0.95")},
					column{title: "p99", unit: "s", expr: q("0.99")},
				),
			}},
			{"", 9, []*Panel{
				graph("p95 response time by release", "The 95th percentile of each scenario, in a colour for each release.", 12, "s",
					series{"{{scenario}} {{release}}", `histogram_quantile(0.95, sum by (le, scenario, release) (sum by (job, instance, le, scenario) (rate(perfd_response_time_${seconds}{@step}[@]))` + released + `))`}).exemplars(),
				graph("p95 response time by step", "The 95th percentile of each step; releases and regressions are marked.", 12, "s",
					series{"{{scenario}} {{step}}", quantile(0.95, "scenario, step", "perfd_response_time", "{@step")}).exemplars(),
			}},
			{"", 9, []*Panel{
				graph("Failed requests by step", "The share of requests that failed.", 12, "percentunit",
					series{"{{scenario}} {{step}}", failures("scenario, step", "{@step")}),
				graph("Change against the releases before", "How each statistic compares with its baseline, wherever there is one; 0.15 is 15 % more.", 12, "percentunit",
					series{"{{scenario}} {{step}} {{statistic}}", `max by (scenario, step, statistic) (perfd_regression_change_ratio{@step})`}).
					signed().line(0, unknown).empty("No release was compared yet."),
			}},
			{"Beside a twin", 8, []*Panel{
				table("Who is worse", "What is known of each scenario with a twin: the release, its environment, the baseline alone, or neither.", 10,
					column{title: "Scenario", label: "scenario"},
					column{title: "Target", label: "target"},
					column{title: "Release", label: "release"},
					column{title: "Baseline", label: "baseline_target"},
					column{title: "Known", label: "verdict"},
					column{expr: `max by (scenario, target, release, baseline_target) (perfd_twin_info{@scenario}) * on (scenario) group_right (target, release, baseline_target) (max by (scenario, verdict) (perfd_twin_verdict{@scenario}) == 1)`},
				).empty("No scenario has a twin."),
				graph("Beside the twin", "How each statistic of a whole scenario compares with its baseline under the same load, with its interval; 0.1 is 10 % worse.", 14, "percentunit",
					series{"{{scenario}} {{statistic}}", `max by (scenario, statistic) (perfd_twin_change_ratio{@scenario, step=""})`},
					series{"{{scenario}} {{statistic}}, at least", `max by (scenario, statistic) (perfd_twin_change_lower_ratio{@scenario, step=""})`},
					series{"{{scenario}} {{statistic}}, at most", `max by (scenario, statistic) (perfd_twin_change_upper_ratio{@scenario, step=""})`}).
					signed().line(0, unknown).empty("No scenario has a twin, or nothing was compared yet."),
			}},
			{"Findings", 6, []*Panel{
				graph("Regressions and changes that hold", "How many statistics of each scenario are suspected to be worse.", 12, "none",
					series{"{{scenario}}", `sum by (scenario) (max by (scenario, step, statistic) (perfd_regression_suspected{@step}))`}),
				graph("Findings by kind", "How many findings of each kind hold.", 12, "none", series{"{{kind}}", `max by (kind) (perfd_findings_active{@all})`}),
			}},
		},
	})
}
