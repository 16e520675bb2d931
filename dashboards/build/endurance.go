package build

func endurance() *Dashboard {
	const each = "target, resource, member"
	levels := func(kind, unit, growth, resource, slope string) []*Panel {
		s := func(bound string) string {
			return `max by (` + each + `) (perfd_leak_slope_` + bound + slope + `{@target}) * 3600`
		}
		return []*Panel{
			graph(kind, "Levels as they were read, and the least of the half hour before: a leak lifts that floor, a garbage collector does not.", 12, unit,
				series{"{{target}} {{resource}} {{member}}", `max by (` + each + `) (` + resource + `{@target})`},
				series{"floor of {{target}} {{resource}} {{member}}", `max by (` + each + `) (min_over_time(` + resource + `{@target}[30m]))`}),
			graph(kind+": growth per hour", "Growth of the floor with load accounted for, and the bounds of its 95 % interval. Growth is proven where the lower bound is above zero.", 12, growth,
				series{"{{target}} {{resource}} {{member}}", s("")},
				series{"lower bound, {{target}} {{resource}} {{member}}", s("lower_")},
				series{"upper bound, {{target}} {{resource}} {{member}}", s("upper_")}).signed().line(0, unknown).empty("Not enough was seen yet to tell growth from noise."),
		}
	}
	return newDashboard(question{
		uid: "perfd-endurance", title: "perfd / Endurance and leaks", from: "now-2d",
		asks:      "Does anything grow without end, and when does it reach its limit? What targets need under load, and latency that drifts.",
		variables: []Variable{targetVariable, scenarioVariable, histogramVariable},
		rows: []row{
			{"Now", 8, []*Panel{
				table("Resources", "What each resource needs now, and where growth leads to if it goes on.", 24,
					column{title: "Target", label: "target"},
					column{title: "Resource", label: "resource"},
					column{title: "Member", label: "member"},
					column{
						title: "Leak", expr: `1 + max by (` + each + `) (perfd_leak_verdict{@target, verdict="fail"}) - min by (` + each + `) (perfd_leak_verdict{@target, verdict="pass"})`,
						look: coloured(leaks),
					},
					column{title: "Memory", unit: "bytes", expr: `max by (` + each + `) (perfd_target_resource_bytes{@target})`},
					column{title: "Items", unit: "short", expr: `max by (` + each + `) (perfd_target_resource_items{@target})`},
					column{title: "Growth per hour, memory", unit: "bytes", expr: `max by (` + each + `) (perfd_leak_slope_bytes_per_second{@target}) * 3600`},
					column{title: "Growth per hour, items", unit: "short", expr: `max by (` + each + `) (perfd_leak_slope_count_per_second{@target}) * 3600`},
					column{title: "Time to the limit", unit: "s", expr: `min by (` + each + `) (perfd_leak_seconds_to_limit{@target})`, look: judged(steps(bad, warning, 86400, good, 7*86400.0))},
				),
			}},
			{"Memory", 9, levels("Memory", "bytes", "bytes", "perfd_target_resource_bytes", "bytes_per_second")},
			{"What is counted", 9, levels("Items", "short", "short", "perfd_target_resource_items", "count_per_second")},
			{"What is used", 8, []*Panel{
				graph("CPU", "Cores that each target uses, and the limit where it has one.", 12, "none",
					series{"{{target}} {{resource}} {{member}}", `max by (` + each + `) (perfd_target_resource_cpu_cores{@target})`},
					series{"{{target}} {{resource}} limit", `max by (target, resource) (perfd_target_resource_limit{@target} and on (target, resource) perfd_target_resource_cpu_cores{@target})`}).empty("No target has a resource of kind cpu."),
				graph("Network", "Bytes per second of each target, and the limit where it has one.", 12, "Bps",
					series{"{{target}} {{resource}} {{member}}", `max by (` + each + `) (perfd_target_resource_bytes_per_second{@target})`},
					series{"{{target}} {{resource}} limit", `max by (target, resource) (perfd_target_resource_limit{@target} and on (target, resource) perfd_target_resource_bytes_per_second{@target})`}).empty("No target has a resource of kind network."),
			}},
			{"Forecast", 8, []*Panel{
				graph("Time to the limit", "How long each resource can go on as it does. Empty where nothing grows.", 12, "s",
					series{"{{target}} {{resource}} {{member}}", `min by (` + each + `) (perfd_leak_seconds_to_limit{@target} < Inf)`}).line(86400, bad).empty("Nothing grows towards a limit."),
				graph("Memory in a day", "The level now and in 24 hours if proven growth goes on.", 12, "bytes",
					series{"{{target}} {{resource}} {{member}} now", `max by (` + each + `) (perfd_target_resource_bytes{@target})`},
					series{"{{target}} {{resource}} {{member}} in 24 h", `max by (` + each + `) (perfd_target_resource_bytes{@target} + 86400 * (perfd_leak_slope_bytes_per_second{@target} and perfd_leak_suspected{@target} == 1))`}),
			}},
			{"Drift", 8, []*Panel{
				graph("Drift per day", "By how much a statistic changes per day over the endurance run, where that is proven. Below zero is drift too.", 8, "percentunit",
					series{"{{scenario}} {{statistic}}", `max by (scenario, statistic) (perfd_drift_ratio{@scenario})`}).signed().empty("No endurance run is long enough yet."),
				graph("p95 response time", "The 95th percentile of response times of the scenarios that put load on the targets.", 8, "s",
					series{"{{scenario}}", quantile(0.95, "scenario", "perfd_response_time", "{@scenario")}),
				graph("Load", "Requests per second. What grows with it is no leak.", 8, "reqps",
					series{"{{scenario}}", rate("scenario", `perfd_requests_total{@scenario}`)}),
			}},
			{"Reading", 6, []*Panel{
				graph("Reads that failed", "Attempts to read a target's release or resources that failed, per second: without readings no leak is found.", 12, "short",
					series{"{{target}} {{what}} {{fault}}", rate("target, what, fault", `perfd_target_read_failures_total{@target}`)}),
				graph("Targets that answer", "1 while a target answers, 0 while it does not.", 12, "none",
					series{"{{target}}", `min by (target) (perfd_target_up{@target})`}),
			}},
		},
	})
}
