package build

func sla() *Dashboard {
	const each = "scenario, objective"
	objectives := func(title, about, unit, of string) *Panel {
		with := func(metric string) string {
			return `max by (` + each + `) (` + explained(metric, "{@objective", `, unit`+of) + `)`
		}
		return table(title, about, 24,
			column{title: "Scenario", label: "scenario", look: leads(open("Show ${__data.fields.Scenario}", "perfd-scenario", "scenario", "${__data.fields.Scenario}"))},
			column{title: "Objective", label: "objective"},
			column{title: "Step", label: "step"},
			column{title: "Metric", label: "metric"},
			column{title: "Window", label: "window"},
			column{title: "Severity", label: "severity"},
			column{expr: `max by (scenario, objective, step, metric, window, severity) (perfd_objective_info{@objective, unit` + of + `})`},
			column{title: "Verdict", expr: verdict("{@objective") + ` and on (` + each + `) perfd_objective_info{@objective, unit` + of + `}`, look: coloured(verdicts)},
			column{title: "Value", unit: unit, expr: with("perfd_objective_value")},
			column{title: "Limit", unit: unit, expr: with("perfd_objective_limit")},
			column{
				title: "Budget left", unit: "percentunit", expr: `min by (` + each + `) (` + explained("perfd_objective_budget_remaining_ratio", "{@objective", `, unit`+of) + `)`,
				look: judged(steps(bad, warning, 0, good, 0.25)),
			},
			column{title: "Evidence", unit: "short", expr: `sum by (` + each + `) (` + explained("perfd_objective_evidence_events", "{@objective", `, unit`+of) + `)`},
		)
	}
	return newDashboard(question{
		uid: "perfd-sla", title: "perfd / SLA", from: "now-1d",
		asks:      "Is the SLA kept, and how fast is the error budget spent? Every objective with its verdict, its evidence and its burn rates.",
		variables: []Variable{scenarioVariable, objectiveVariable},
		rows: []row{
			{"Objectives", 8, []*Panel{objectives("Latency", "Objectives on percentiles of response times.", "s", `="seconds"`)}},
			{"", 7, []*Panel{objectives("Errors, availability and checks", "Objectives on shares.", "percentunit", `="ratio"`)}},
			{"", 6, []*Panel{objectives("Rates and numbers", "Objectives on rates, and on trends of a scenario's own that are none of durations.", "short", `!~"seconds|ratio"`).empty("There is no such objective.")}},
			{"Verdicts", 9, []*Panel{
				timeline("Verdicts", "What each objective came to: passes and failures are proven, everything else is inconclusive.", 12, "{{scenario}} {{objective}}", verdict("{@objective"), verdicts),
				graph("Latency as a share of its limit", "The value over its window, divided by the limit.", 12, "percentunit",
					series{"{{scenario}} {{objective}}", `max by (` + each + `) (` + explained("perfd_objective_value", "{@objective", `, unit="seconds"`) + `)
						/ max by (` + each + `) (perfd_objective_limit{@objective})`}).line(1, limit),
			}},
			{"Error budget", 9, []*Panel{
				graph("Budget left", "What is left of the error budget of the last 30 days. Below zero more was spent than there was.", 12, "percentunit",
					series{"{{scenario}} {{objective}}", `min by (` + each + `) (perfd_objective_budget_remaining_ratio{@objective})`}).signed().line(0, bad),
				graph("Bad events", "The share of events that the objective calls bad.", 12, "percentunit",
					series{"{{scenario}} {{objective}}", rate(each, `perfd_objective_bad_total{@objective}`) + ` / (` + rate(each, `perfd_objective_events_total{@objective}`) + ` > 0)`}),
			}},
			{"Burn rate", 9, []*Panel{
				burn("1 hour and 5 minutes", "5m", "1h"),
				burn("6 hours and 30 minutes", "30m", "6h"),
				burn("3 days", "3d", ""),
			}},
			{"Evidence", 8, []*Panel{
				graph("Events that count", "Requests, arrivals or checks per second in windows that count.", 8, "short", series{"{{scenario}} {{objective}}", rate(each, `perfd_objective_events_total{@objective}`)}),
				graph("Events that do not count", "Events of windows that do not count, by reason. While these are most, a verdict cannot move.", 8, "short",
					series{"{{reason}}", rate("reason", `perfd_objective_excluded_total{@objective}`) + ` > 0`}).stacked().empty("Every event counts."),
				graph("Evidence", "Effective events that each verdict rests on since it last began anew: after a release, a changed objective or a verdict that turned.", 8, "short",
					series{"{{scenario}} {{objective}}", `sum by (` + each + `) (perfd_objective_evidence_events{@objective})`}),
			}},
		},
	})
}

// burn draws how fast budgets burn over a short and a long window, as a share of
// what an alert allows. The alert needs both over 1, so the lesser of the two is
// drawn; an empty long window leaves one. Its windows are the alert's own.
func burn(title, short, long string) *Panel {
	over := func(window string) string {
		increase := func(metric string) string {
			return `sum by (scenario, objective) (rate(` + metric + `{@objective}[` + window + `]))`
		}
		return increase("perfd_objective_bad_total") + ` / (` + increase("perfd_objective_events_total") + ` > 0)
			/ max by (scenario, objective) (perfd_objective_burn_limit_ratio{@objective, window="` + window + `"})`
	}
	query := over(short)
	if long != "" {
		query = `min by (scenario, objective) (label_replace(` + over(short) + `, "over", "` + short + `", "", "") or label_replace(` + over(long) + `, "over", "` + long + `", "", ""))
			and on (scenario, objective) sum by (scenario, objective) (rate(perfd_objective_events_total{@objective}[` + short + `])) > 0`
	}
	return graph(title, "How fast the error budget burns, as a share of the rate at which an alert fires. Above 100 % it does.", 8, "percentunit",
		series{"{{scenario}} {{objective}}", query}).line(1, limit)
}
