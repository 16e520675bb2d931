package build

func scenario() *Dashboard {
	spans := traces("Traces of ${__field.labels.step}", `span.perfd.scenario="${scenario}" && span.perfd.step="${__field.labels.step}"`)
	failed := traces("Traces of what failed", `span.perfd.scenario="${scenario}" && status=error`)
	return newDashboard(question{
		uid: "perfd-scenario", title: "perfd / Scenario", from: "now-3h",
		asks:      "How is this scenario doing, step by step? Rate, errors and durations, and whether the load that was asked for was there.",
		variables: []Variable{one(scenarioVariable), stepVariable, histogramVariable, tracingVariable},
		rows: []row{
			{"Now", 4, []*Panel{
				stat("State", "What the scenario is doing.", 4, "none", `max by (state) (perfd_scenario_state{@scenario} == 1)`, plain).named("{{state}}"),
				stat("Verdict", "The worst verdict of the scenario's objectives.", 4, "none", worst("{@scenario"), plain, verdicts),
				stat("Release", "The release of the target when the run that is under way began.", 4, "none", `max by (release) (perfd_run_info{@scenario})`, plain).named("{{release}}"),
				stat("Requests", "Requests that ended, per second.", 4, "reqps", rate("", `perfd_requests_total{@step}`), plain),
				stat("Failed", "The share of requests that failed.", 4, "percentunit", rate("", `perfd_request_failures_total{@step, cause!="canceled"}`)+` / (`+rate("", `perfd_requests_total{@step}`)+` > 0)`, plain),
				stat("Load that was asked for", "Iterations that started over those that the plan asked for, of the run under way.", 4, "percentunit",
					`min(perfd_efficiency_ratio{@scenario})`, steps(bad, warning, 0.9, good, 0.98)),
			}},
			{"Rate, errors, durations", 8, []*Panel{
				graph("Requests by step", "Requests that ended, whatever came of them.", 8, "reqps", series{"{{step}}", rate("step", `perfd_requests_total{@step}`)}).link(spans),
				graph("Failed requests by cause", "Requests that failed, per second, by what made them fail.", 8, "reqps",
					series{"{{cause}}", rate("cause", `perfd_request_failures_total{@step, cause!="canceled"}`) + ` > 0`}).stacked().link(failed).empty("Nothing failed."),
				graph("Answers by code", "Answers by the protocol's code.", 8, "reqps", series{"{{code}}", rate("code", `perfd_responses_total{@step}`)}).stacked(),
			}},
			{"", 9, []*Panel{
				graph("Response time", "From when a request was due to the end of its answer, all chosen steps together. Dashed lines are the limits of objectives on the whole scenario; dots are single requests that lead to their traces.", 12, "s",
					series{"p50", quantile(0.5, "", "perfd_response_time", "{@step")},
					series{"p95", quantile(0.95, "", "perfd_response_time", "{@step")},
					series{"p99", quantile(0.99, "", "perfd_response_time", "{@step")},
					series{"limit {{objective}}", latencyLimit("{@scenario", `=""`)}).exemplars(),
				graph("p95 response time by step", "The 95th percentile of each step, with the limits of objectives on single steps.", 12, "s",
					series{"{{step}}", quantile(0.95, "step", "perfd_response_time", "{@step")},
					series{"limit {{objective}}", latencyLimit("{@scenario", `=~"$step", step!=""`)}).exemplars().link(spans),
			}},
			{"", 9, []*Panel{
				heat("Response times", "How many requests a second took how long. A band that splits in two is two kinds of answers.", 12,
					`sum by (le) (rate(perfd_response_time_${seconds}{@step}[@]))`),
				graph("Where the time goes", "The mean time of a request in each phase.", 12, "s",
					series{"{{phase}}", rate("phase", `perfd_request_phase_seconds_total{@step}`) + ` / ignoring (phase) group_left () (` + rate("", `perfd_requests_total{@step}`) + ` > 0)`}).stacked(),
			}},
			{"Load", 8, []*Panel{
				graph("Asked and achieved", "Iterations per second that the plan asks for, and those that started. A gap is explained by the arrivals that were dropped.", 8, "short",
					series{"asked for", `sum(perfd_planned_arrivals_per_second{@scenario})`},
					series{"started", rate("", `perfd_iterations_started_total{@scenario}`)}),
				graph("Dropped arrivals", "Arrivals that did not become an iteration, per second. no_free_vu is the target's doing, all other reasons are perfd's.", 8, "short",
					series{"{{reason}}", rate("reason", `perfd_iterations_dropped_total{@scenario}`) + ` > 0`}).stacked().empty("Nothing was dropped."),
				graph("Virtual users", "Virtual users that exist, and those that are in an iteration. Of closed workloads also what the plan asks for.", 8, "short",
					series{"exist", `sum(perfd_vus{@scenario})`},
					series{"busy", `sum(perfd_vus_busy{@scenario})`},
					series{"asked for", `sum(perfd_planned_vus{@scenario})`}),
			}},
			{"Details", 8, []*Panel{
				graph("Checks that did not hold", "The share of evaluations of each check that found it not to hold. Checks never make a request fail.", 8, "percentunit",
					series{"{{check}}", rate("check", `perfd_check_failures_total{@scenario}`) + ` / (` + rate("check", `perfd_checks_total{@scenario}`) + ` > 0)`}),
				graph("p95 request duration and lateness", "Duration counts from when a request was sent, lateness is how late an iteration began. Where response times are high and durations are not, perfd or its plan waited.", 8, "s",
					series{"request duration", quantile(0.95, "", "perfd_request_duration", "{@step")},
					series{"lateness of iterations", quantile(0.95, "", "perfd_iteration_lateness", "{@scenario")}),
				graph("p95 duration of failures", "From sending a request to its failure. Near the step's timeout the target hangs, near zero it refuses.", 8, "s",
					series{"{{step}}", quantile(0.95, "step", "perfd_request_failure_duration", "{@step")}).link(failed),
			}},
			{"", 8, []*Panel{
				graph("Iterations", "Iterations that ended, and of these the ones that did not reach their end.", 8, "short",
					series{"ended", rate("", `perfd_iterations_total{@scenario}`)},
					series{"stopped by a failed step", rate("", `perfd_iterations_stopped_total{@scenario}`)},
					series{"cut short by perfd", rate("", `perfd_iterations_interrupted_total{@scenario}`)}),
				graph("Connections", "Connections of virtual users, per second.", 8, "short",
					series{"opened", rate("", `perfd_connections_opened_total{@scenario}`)},
					series{"closed, {{reason}}", rate("reason", `perfd_connections_closed_total{@scenario}`) + ` > 0`}),
				graph("Bytes", "Bytes of requests and of answers.", 8, "Bps",
					series{"sent", rate("", `perfd_sent_bytes_total{@step}`)},
					series{"received", rate("", `perfd_received_bytes_total{@step}`)}),
			}},
			{"Groups, and metrics of the scenario's own", 8, []*Panel{
				graph("p95 duration of groups", "From when the first request of a group was due to its last answer, without think times.", 8, "s",
					series{"{{group}}", quantile(0.95, "group", "perfd_group_duration", "{@scenario")}).empty("The scenario has no groups."),
				graph("Groups that failed", "The share of groups in which a request failed.", 8, "percentunit",
					series{"{{group}}", rate("group", `perfd_group_failures_total{@scenario}`) + ` / (` + rate("group", `perfd_groups_total{@scenario}`) + ` > 0)`}).empty("The scenario has no groups."),
				graph("Rates", "The share of the events of each rate of the scenario's own whose condition held.", 8, "percentunit",
					series{"{{metric}}", `1 - ` + rate("metric", `perfd_custom_events_missed_total{@scenario}`) + ` / (` + rate("metric", `perfd_custom_events_total{@scenario}`) + ` > 0)`}).empty("The scenario has no rates of its own."),
			}},
			{"", 8, []*Panel{
				graph("p95 of trends", "The 95th percentile of each trend of the scenario's own.", 8, "s",
					series{"{{metric}}", quantile(0.95, "metric", "perfd_custom_duration", "{@scenario")}).empty("The scenario has no trends of its own."),
				graph("Counters", "What each counter of the scenario's own gains, per second.", 8, "short",
					series{"{{metric}}", rate("metric", `perfd_custom_total{@scenario}`)}).empty("The scenario has no counters of its own."),
				graph("Gauges", "The last value of each gauge of the scenario's own, the mean of all instances.", 8, "short",
					series{"{{metric}}", `avg by (metric) (perfd_custom_value{@scenario})`}).empty("The scenario has no gauges of its own."),
			}},
			{"Runs", 4, []*Panel{
				stat("Run", "The run that is under way.", 6, "none", `max by (run) (perfd_run_info{@scenario})`, plain).named("{{run}}"),
				stat("Since", "When it began.", 6, "dateTimeAsIso", `min(perfd_run_start_timestamp_seconds{@scenario}) * 1000`, plain),
				stat("Next run", "When the schedule starts the next one.", 6, "dateTimeAsIso", `min(perfd_schedule_next_run_timestamp_seconds{@scenario}) * 1000`, plain),
				stat("Missed runs", "Runs that were due in the time shown and did not start.", 6, "none", `sum(increase(perfd_schedule_missed_total{@scenario}[$__range]))`, steps(good, bad, 1)),
			}},
		},
	})
}
