package build

func self() *Dashboard {
	return newDashboard(question{
		uid: "perfd-self", title: "perfd / perfd itself", from: "now-6h",
		asks:      "Can perfd's numbers be trusted, and is perfd itself well? Validity, lateness, drops, what it needs, and whether what it measured arrives.",
		variables: []Variable{scenarioVariable, histogramVariable},
		rows: []row{
			{"Now", 4, []*Panel{
				stat("Measurement can be trusted", "Whether perfd left four fifths of every measurement of the last five minutes alone.", 4, "none", `min(perfd_measurement_valid{@scenario})`, steps(bad, good, 1), trusted),
				stat("Configuration", "Whether the last reload took the configuration that is in the file.", 4, "none",
					`min(perfd_config_last_reload_successful{@all})`, plain, words("rejected", bad, "loaded", good)),
				stat("Paused", "Whether all load is paused.", 4, "none", `max(perfd_paused{@all})`, plain, words("no", good, "yes", warning)),
				stat("Version", "What is running.", 4, "none", `count by (version, goversion) (perfd_build_info{@all})`, plain).named("{{version}} {{goversion}}"),
				stat("Instances", "Instances that answer, of the shards there should be.", 4, "none", `count(perfd_shard_info{@all})`, plain),
				stat("Up since", "When the instance that started last did.", 4, "dateTimeAsIso", `max(process_start_time_seconds{@all}) * 1000`, plain),
			}},
			{"Measurement", 8, []*Panel{
				timeline("Trusted", "Whether the measurements of each scenario can be trusted.", 8, "{{scenario}}", `min by (scenario) (perfd_measurement_valid{@scenario})`, trusted),
				graph("Time disturbed", "The share of time during which perfd disturbed its own measurement, by reason.", 8, "percentunit",
					series{"{{scenario}} {{reason}}", rate("scenario, reason", `perfd_measurement_invalid_seconds_total{@scenario}`) + ` > 0`}).empty("Nothing was disturbed."),
				graph("Lateness", "How late iterations began: the wait for a timer, a processor or a free virtual user.", 8, "s",
					series{"p50 {{scenario}}", quantile(0.5, "scenario", "perfd_iteration_lateness", "{@scenario")},
					series{"p99 {{scenario}}", quantile(0.99, "scenario", "perfd_iteration_lateness", "{@scenario")}),
			}},
			{"", 8, []*Panel{
				graph("Dropped arrivals", "Arrivals that did not become an iteration, per second. no_free_vu is the target's doing, all other reasons are perfd's.", 8, "short",
					series{"{{scenario}} {{reason}}", rate("scenario, reason", `perfd_iterations_dropped_total{@scenario}`) + ` > 0`}).stacked().empty("Nothing was dropped."),
				graph("Load withheld", "The share of the planned load that is withheld because a target is in distress.", 8, "percentunit",
					series{"{{target}}", `max by (target) (perfd_target_backoff_ratio{@all})`}),
				graph("Waits for a rate limit", "Time per second that requests waited because a limit had no token for them.", 8, "s",
					series{"{{scenario}}", rate("scenario", `perfd_rate_limit_wait_seconds_total{@scenario}`)}),
			}},
			{"What perfd needs", 8, []*Panel{
				graph("CPU", "The share of one processor that perfd uses.", 8, "percentunit", series{"{{instance}}", rate("instance", `process_cpu_seconds_total{@all}`)}),
				graph("Memory", "Resident memory, and live objects on the heap after the last collection. Both stay level however long perfd runs.", 8, "bytes",
					series{"resident, {{instance}}", `max by (instance) (process_resident_memory_bytes{@all})`},
					series{"live heap, {{instance}}", `max by (instance) (go_gc_heap_live_bytes{@all})`}),
				graph("Descriptors", "Open descriptors, mostly connections, and how many there may be.", 8, "short",
					series{"open, {{instance}}", `max by (instance) (process_open_fds{@all})`},
					series{"limit {{instance}}", `max by (instance) (process_max_fds{@all})`}),
			}},
			{"", 8, []*Panel{
				graph("Goroutines", "Few and level: a virtual user has none of its own.", 8, "short", series{"{{instance}}", `max by (instance) (go_goroutines{@all})`}),
				graph("p99 wait for a processor", "How long goroutines that could run waited for a thread. Long waits make perfd late.", 8, "s",
					series{"{{instance}}", `histogram_quantile(0.99, sum by (le, instance) (rate(go_sched_latencies_seconds_bucket{@all}[@])))`}),
				graph("Analyses", "Seconds per second that each analysis takes, at most as much of a processor.", 8, "s", series{"{{analysis}}", rate("analysis", `perfd_analysis_seconds_total{@all}`)}),
			}},
			{"History", 7, []*Panel{
				graph("History on disk", "Bytes of windows, by the length of the windows.", 8, "bytes", series{"{{tier}}", `sum by (tier) (perfd_history_bytes{@all})`}).stacked(),
				graph("Faults", "Operations on disk that failed, and windows that were lost to it, per second.", 8, "short",
					series{"faults", rate("", `perfd_history_faults_total{@all}`)}, series{"lost windows", rate("", `perfd_history_lost_windows_total{@all}`)}),
				graph("Labels beyond their cap", "Values that count under other, per second: a flow that makes up names.", 8, "short", series{"{{label}}", rate("label", `perfd_label_overflow_total{@all}`)}),
			}},
			{"Remote write", 8, []*Panel{
				graph("Behind", "How old the oldest sample is that a receiver has not got.", 6, "s",
					series{"{{remote}}", `max by (remote) (perfd_remote_write_highest_timestamp_seconds{@all} - on (job, instance) group_right () perfd_remote_write_highest_sent_timestamp_seconds{@all})`}).empty(noRemote),
				graph("Samples", "Samples per second that receivers took, and that did not arrive.", 6, "short",
					series{"taken, {{remote}}", rate("remote", `perfd_remote_write_samples_total{@all}`)},
					series{"retried, {{remote}}", rate("remote", `perfd_remote_write_samples_retried_total{@all}`)},
					series{"refused, {{remote}}", rate("remote", `perfd_remote_write_samples_failed_total{@all}`)},
					series{"dropped, {{remote}}, {{reason}}", rate("remote, reason", `perfd_remote_write_samples_dropped_total{@all}`)}).empty(noRemote),
				graph("Queue", "What waits to be sent. What is held in memory would not survive a restart.", 6, "bytes",
					series{"on disk and in memory", `sum(perfd_remote_write_queue_bytes{@all})`},
					series{"in memory only", `sum(perfd_remote_write_queue_memory_bytes{@all})`},
					series{"not sent to {{remote}}", `sum by (remote) (perfd_remote_write_pending_bytes{@all})`}).empty(noRemote),
				graph("Refused access", "1 while a receiver refuses access and samples wait for it, by its status.", 6, "none",
					series{"{{remote}} {{reason}}", `max by (remote, reason) (perfd_remote_write_blocked{@all})`}).empty("No receiver refuses access."),
			}},
			{"Traces", 7, []*Panel{
				graph("Spans", "Spans per second that the collector took, and that were not exported.", 12, "short",
					series{"taken", rate("", `perfd_trace_spans_total{@all}`)},
					series{"dropped, {{reason}}", rate("reason", `perfd_trace_spans_dropped_total{@all}`)}).empty(noTraces),
				graph("Spans that wait", "Spans in the queue, and exports per second that failed.", 12, "short",
					series{"in the queue", `sum(perfd_trace_spans_queued{@all})`},
					series{"failed exports", rate("", `perfd_trace_exports_failed_total{@all}`)}).empty(noTraces),
			}},
		},
	})
}

const (
	noRemote = "No remote write is configured."
	noTraces = "Tracing is off."
)
