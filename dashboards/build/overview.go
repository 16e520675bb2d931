package build

func overview() *Dashboard {
	return newDashboard(question{
		uid: "perfd-overview", title: "perfd / Overview", from: "now-6h",
		asks:      "Is staging healthy now? Verdicts, error budgets and findings of all scenarios; everything here leads to the dashboard that explains it.",
		variables: []Variable{histogramVariable},
		rows: []row{
			{"Now", 4, []*Panel{
				stat("Objectives that fail", "Objectives that are proven to be broken.", 4, "none",
					`count((`+verdict("{@all")+`) == 2) or vector(0)`, steps(good, bad, 1)),
				stat("Objectives without proof", "Objectives that are neither proven to be kept nor to be broken. Right after a release that is all of them.", 4, "none",
					`count((`+verdict("{@all")+`) == 1) or vector(0)`, steps(good, unknown, 1)),
				stat("Least budget left", "Of the objective that has spent most of its error budget of the last 30 days. Below zero more was spent than there was.", 4, "percentunit",
					`min(perfd_objective_budget_remaining_ratio{@all})`, steps(bad, warning, 0, good, 0.25)),
				stat("Findings", "Regressions, changes, leaks and drifts that hold now.", 4, "none",
					`sum(max by (kind) (perfd_findings_active{@all}))`, steps(good, warning, 1)),
				stat("Targets that answer", "The share of targets that answered when they were last sent a request.", 4, "percentunit",
					`avg(min by (target) (perfd_target_up{@all}))`, steps(bad, good, 1)),
				stat("Measurement can be trusted", "Whether perfd itself left all measurements alone in the last minute.", 4, "none",
					`min(perfd_measurement_valid{@all})`, steps(bad, good, 1), trusted),
			}},
			{"Scenarios", 8, []*Panel{
				table("Scenarios", "The state of each scenario, what it sends, and the worst verdict of its objectives.", 24,
					column{title: "Scenario", label: "scenario", look: leads(open("Show ${__data.fields.Scenario}", "perfd-scenario", "scenario", "${__data.fields.Scenario}"))},
					column{title: "Test", label: "test"},
					column{expr: `max by (scenario, test) (perfd_scenario_info{@all})`},
					column{title: "State", label: "state"},
					column{expr: `max by (scenario, state) (perfd_scenario_state{@all} == 1)`},
					column{title: "Verdict", expr: worst("{@all"), look: coloured(verdicts)},
					column{
						title: "Least budget left", unit: "percentunit", expr: `min by (scenario) (perfd_objective_budget_remaining_ratio{@all})`,
						look: judged(steps(bad, warning, 0, good, 0.25)),
					},
					column{title: "Requests", unit: "reqps", expr: rate("scenario", `perfd_requests_total{@all}`)},
					column{title: "Failed", unit: "percentunit", expr: failures("scenario", "{@all")},
					column{title: "p95 response time", unit: "s", expr: quantile(0.95, "scenario", "perfd_response_time", "{@all")},
					column{title: "Trusted", expr: `min by (scenario) (perfd_measurement_valid{@all})`, look: coloured(trusted)},
				),
			}},
			{"", 7, []*Panel{
				timeline("Verdict", "The worst verdict of each scenario's objectives.", 12, "{{scenario}}", worst("{@all"), verdicts).
					link(open("Show the objectives", "perfd-sla", "scenario", "${__field.labels.scenario}")),
				graph("Budget left", "What is left of the error budget of the last 30 days, of the objective of each scenario that has least.", 12, "percentunit",
					series{"{{scenario}}", `min by (scenario) (perfd_objective_budget_remaining_ratio{@all})`}).
					signed().line(0, bad).link(open("Show the budgets", "perfd-sla", "scenario", "${__field.labels.scenario}")),
			}},
			{"What was found", 7, []*Panel{
				table("Regressions and changes", "What got worse with a release, or without one that explains it.", 12,
					column{title: "Scenario", label: "scenario", look: leads(open("Compare releases", "perfd-releases", "scenario", "${__data.fields.Scenario}"))},
					column{title: "Step", label: "step"},
					column{title: "Statistic", label: "statistic"},
					column{title: "Release", label: "release"},
					column{title: "Before", label: "baseline"},
					column{title: "Change", unit: "percentunit", expr: regressions("{@all")},
				).empty("Nothing is proven to be worse, which says nothing of what is not known yet."),
				table("Leaks", "Resources of targets that grow without end.", 12,
					column{title: "Target", label: "target", look: leads(open("Show its resources", "perfd-endurance", "target", "${__data.fields.Target}"))},
					column{title: "Resource", label: "resource"},
					column{title: "Member", label: "member"},
					column{expr: `max by (target, resource, member) (perfd_leak_suspected{@all} == 1)`},
					column{title: "Time to the limit", unit: "s", expr: `min by (target, resource, member) (perfd_leak_seconds_to_limit{@all} < Inf and perfd_leak_suspected{@all} == 1)`},
				).empty("No leak is proven."),
			}},
			{"Load", 8, []*Panel{
				graph("Requests", "Requests that ended.", 8, "reqps", series{"{{scenario}}", rate("scenario", `perfd_requests_total{@all}`)}).link(toScenario),
				graph("Failed requests", "The share of requests that failed. What perfd cancelled is left out.", 8, "percentunit",
					series{"{{scenario}}", failures("scenario", "{@all")}).link(toScenario),
				graph("p95 response time", "From when a request was due to the end of its answer, so that a target that stalls does not look fast.", 8, "s",
					series{"{{scenario}}", quantile(0.95, "scenario", "perfd_response_time", "{@all")}).exemplars().link(toScenario),
			}},
		},
	})
}

var toScenario = open("Show ${__field.labels.scenario}", "perfd-scenario", "scenario", "${__field.labels.scenario}")

// regressions is the change of each statistic that is suspected, with the releases that were compared.
func regressions(matchers string) string {
	return `max by (scenario, step, statistic, release, baseline) (perfd_regression_info` + matchers + `} * on (job, instance, scenario, step, statistic) group_left ()
		perfd_regression_change_ratio` + matchers + `})`
}
