package metric

// A section groups metrics on the page that documents them.
type section struct {
	title   string
	about   string
	metrics []*Desc
}

// catalogue holds the sections in the order of their declaration below.
var catalogue []*section

func newSection(title, about string) *section {
	s := &section{title: title, about: about}
	catalogue = append(catalogue, s)
	return s
}

func (s *section) add(t Type, name, unit, help string, labels []string) *Desc {
	d := &Desc{Name: name, Type: t, Unit: unit, Labels: labels, Help: help}
	s.metrics = append(s.metrics, d)
	return d
}

func (s *section) gauge(name, unit, help string, labels ...string) *Desc {
	return s.add(Gauge, name, unit, help, labels)
}

func (s *section) counter(name, unit, help string, labels ...string) *Desc {
	return s.add(Counter, name, unit, help, labels)
}

func (s *section) histogram(name, help string, labels ...string) *Desc {
	return s.add(Histogram, name, seconds, help, labels)
}

// All returns every metric of the catalogue.
func All() []*Desc {
	var all []*Desc
	for _, s := range catalogue {
		all = append(all, s.metrics...)
	}
	return all
}

// Units.
const (
	seconds = "seconds"
	bytes   = "bytes"
	ratio   = "ratio"

	bytesPerSecond = "bytes_per_second"
	countPerSecond = "count_per_second"
)

// Overflow is the label value of everything beyond a label's cap.
const Overflow = "other"

var scenarios = newSection("Scenarios", "What is configured, and whether it should be running. Join with `* on (scenario) group_left (…)`.")

// What is configured.
var (
	ScenarioInfo = scenarios.gauge("perfd_scenario_info", "",
		"A configured scenario, always 1; it carries the scenario's own labels too.",
		"scenario", "test", "executor", "model")
	ScenarioTargetInfo = scenarios.gauge("perfd_scenario_target_info", "",
		"A target that a scenario sends load to, always 1.",
		"scenario", "target")
	StepInfo = scenarios.gauge("perfd_step_info", "",
		"A step of a scenario, its target and protocol, always 1; it carries the step's own tags too.",
		"scenario", "step", "target", "protocol")
	ScenarioExpected = scenarios.gauge("perfd_scenario_expected", "",
		"Whether load is expected from the scenario now: 1, or 0 outside its schedule, in a blackout or while paused.",
		"scenario")
	ScenarioMaintenance = scenarios.gauge("perfd_scenario_maintenance", "",
		"Whether a target of the scenario is in declared maintenance: what is measured meanwhile is not judged.",
		"scenario")
	ScenarioState = scenarios.gauge("perfd_scenario_state", "",
		"1 for the state the scenario is in, 0 for the others.",
		"scenario", "state")
)

var requests = newSection("Requests", "One series per scenario and step. Durations hold answered requests that met their `expect`; failures have their own histogram, cancelled requests are in none.")

// What happened to requests.
var (
	Requests = requests.counter("perfd_requests_total", "",
		"Requests that ended, whatever came of them.",
		"scenario", "step")
	RequestFailures = requests.counter("perfd_request_failures_total", "",
		"Requests that failed, by cause; cause canceled is perfd's own stop.",
		"scenario", "step", "cause")
	RequestRetries = requests.counter("perfd_request_retries_total", "",
		"Attempts that failed and were followed by another; requests of steps whose `on_failure` is retry count once, whatever their attempts.",
		"scenario", "step")
	Responses = requests.counter("perfd_responses_total", "",
		"Answers by the protocol's code. It may be 0, as gRPC's OK is.",
		"scenario", "step", "code")
	RequestDuration = requests.histogram("perfd_request_duration_seconds",
		"Time from sending a request to the end of its answer, of requests that did not fail.",
		"scenario", "step")
	ResponseTime = requests.histogram("perfd_response_time_seconds",
		"Time from when a request was due to the end of its answer, of requests that did not fail.",
		"scenario", "step")
	RequestFailureDuration = requests.histogram("perfd_request_failure_duration_seconds",
		"Time from sending a request to its failure, of requests that failed and were not cancelled.",
		"scenario", "step")
	RequestPhases = requests.counter("perfd_request_phase_seconds_total", seconds,
		"Time that requests spent in each phase.",
		"scenario", "step", "phase")
	RateLimitWait = requests.counter("perfd_rate_limit_wait_seconds_total", seconds,
		"Time that requests waited before sending because a rate limit had no token for them.",
		"scenario", "step")
	OverRange = requests.counter("perfd_durations_over_range_total", "",
		"Durations over one hour, which count as one hour in native histograms and percentiles.",
		"scenario", "step")
	Groups = requests.counter("perfd_groups_total", "",
		"Groups of steps that ended, whatever came of them.",
		"scenario", "group")
	GroupFailures = requests.counter("perfd_group_failures_total", "",
		"Groups in which a request failed, by the cause of the first.",
		"scenario", "group", "cause")
	GroupDuration = requests.histogram("perfd_group_duration_seconds",
		"Time from when the first request of a group was due to its last answer, without think times, of groups in which no request failed.",
		"scenario", "group")
	Messages = requests.counter("perfd_messages_total", "",
		"Messages of the streams that a step opened: of WebSockets, say.",
		"scenario", "step", "direction")
	MessageBytes = requests.counter("perfd_message_bytes_total", bytes,
		"Bytes of the messages of the streams that a step opened, without what the protocol adds and before compression.",
		"scenario", "step", "direction")
	MessagesMissing = requests.counter("perfd_messages_missing_total", "",
		"Messages that were not there when a later one of the stream's sequence came; those that came afterwards are in perfd_messages_reordered_total too.",
		"scenario", "step")
	MessagesReordered = requests.counter("perfd_messages_reordered_total", "",
		"Messages that came after a later one of the stream's sequence.",
		"scenario", "step")
	MessagesRepeated = requests.counter("perfd_messages_repeated_total", "",
		"Messages whose number in the stream's sequence was there before.",
		"scenario", "step")
	MessagesUnmet = requests.counter("perfd_messages_unmet_total", "",
		"Messages that did not meet the condition on every message of the stream.",
		"scenario", "step")
	StreamCloses = requests.counter("perfd_stream_closes_total", "",
		"Streams that ended, by the code that the protocol gave for it: gRPC's status, of which 0 is OK, or the code of a close; 0 is an end without one of any other protocol than gRPC.",
		"scenario", "step", "code")
	MessageFirst = requests.histogram("perfd_message_first_seconds",
		"Time from the opening of a stream to its first message.",
		"scenario", "step")
	MessageGap = requests.histogram("perfd_message_gap_seconds",
		"Time from one message of a stream to the next.",
		"scenario", "step")
	MessageRoundTrip = requests.histogram("perfd_message_round_trip_seconds",
		"Time from a message that was sent to the one that answers it.",
		"scenario", "step")
	MessagePing = requests.histogram("perfd_message_ping_seconds",
		"Time from a ping of the protocol to its pong.",
		"scenario", "step")
	MessageReconnect = requests.histogram("perfd_message_reconnect_seconds",
		"Time from the loss of a stream to its next opening.",
		"scenario", "step")
	StreamLifetime = requests.histogram("perfd_stream_lifetime_seconds",
		"Time from the opening of a stream to its end, of streams that have ended.",
		"scenario", "step")
	CustomCounter = requests.counter("perfd_custom_total", "",
		"Sum of what was added to a counter of the scenario's own.",
		"scenario", "metric")
	CustomRate = requests.counter("perfd_custom_events_total", "",
		"Events of a rate of the scenario's own, such as logins.",
		"scenario", "metric")
	CustomRateMisses = requests.counter("perfd_custom_events_missed_total", "",
		"Events of a rate of the scenario's own whose condition did not hold.",
		"scenario", "metric")
	CustomGauge = requests.gauge("perfd_custom_value", "",
		"Last value of a gauge of the scenario's own; absent before the first.",
		"scenario", "metric")
	CustomTrend = requests.histogram("perfd_custom_duration_seconds",
		"Durations that were added to a trend of the scenario's own.",
		"scenario", "metric")
	CustomNumbers = requests.add(Histogram, "perfd_custom_amount", "",
		"Values that were added to a trend of the scenario's own that is none of durations; perfd_custom_info says what they are counted in.",
		[]string{"scenario", "metric"})
	CustomInfo = requests.gauge("perfd_custom_info", "",
		"Type, unit and meaning of a metric of the scenario's own; always 1.",
		"scenario", "metric", "type", "unit", "help")
	CustomLeftOut = requests.counter("perfd_custom_values_left_out_total", "",
		"Values of a metric with labels that are in no series, because a label had none of its declared values, or more than its bound.",
		"scenario", "metric")
	UnmeasuredRequests = requests.counter("perfd_unmeasured_requests_total", "",
		"Requests of setup, teardown and cleanup, attempts that were followed by another included: no objective, budget or histogram counts them.",
		"scenario", "part", "step")
	UnmeasuredFailures = requests.counter("perfd_unmeasured_request_failures_total", "",
		"Requests of setup, teardown and cleanup that failed.",
		"scenario", "part", "step", "cause")
	CleanUpsPending = requests.gauge("perfd_cleanups_pending", "",
		"What iterations created and no cleanup has removed yet.",
		"scenario")
	CleanUpsLost = requests.counter("perfd_cleanups_lost_total", "",
		"What iterations created and no cleanup will remove, because the run ended before it could, or because too much waited.",
		"scenario")
	SentBytes = requests.counter("perfd_sent_bytes_total", bytes,
		"Bytes sent in requests.",
		"scenario", "step")
	ReceivedBytes = requests.counter("perfd_received_bytes_total", bytes,
		"Bytes received in answers.",
		"scenario", "step")
)

var iterations = newSection("Iterations, checks and connections", "Due arrivals are `perfd_iterations_started_total` plus all of `perfd_iterations_dropped_total`.")

// What happened to iterations, checks and connections.
var (
	IterationsStarted = iterations.counter("perfd_iterations_started_total", "",
		"Iterations that started.",
		"scenario")
	Iterations = iterations.counter("perfd_iterations_total", "",
		"Iterations that ended, whatever came of them.",
		"scenario")
	IterationsStopped = iterations.counter("perfd_iterations_stopped_total", "",
		"Iterations that a failed step ended early.",
		"scenario")
	IterationsInterrupted = iterations.counter("perfd_iterations_interrupted_total", "",
		"Iterations that perfd's own stop cut short.",
		"scenario")
	IterationsDropped = iterations.counter("perfd_iterations_dropped_total", "",
		"Arrivals that did not become an iteration; no_free_vu is the target's doing, the other reasons are perfd's.",
		"scenario", "reason")
	IterationDuration = iterations.histogram("perfd_iteration_duration_seconds",
		"Time from the start to the end of iterations that reached their end.",
		"scenario")
	IterationLateness = iterations.histogram("perfd_iteration_lateness_seconds",
		"Time from when an iteration was due to its start.",
		"scenario")
	Checks = iterations.counter("perfd_checks_total", "",
		"Evaluations of a check.",
		"scenario", "check")
	CheckFailures = iterations.counter("perfd_check_failures_total", "",
		"Evaluations of a check that found it not to hold.",
		"scenario", "check")
	ConnectionsOpened = iterations.counter("perfd_connections_opened_total", "",
		"Connections opened by virtual users.",
		"scenario")
	ConnectionsClosed = iterations.counter("perfd_connections_closed_total", "",
		"Connections of virtual users that were closed, by reason.",
		"scenario", "reason")
	DatagramsIgnored = iterations.counter("perfd_datagrams_ignored_total", "",
		"Datagrams that virtual users received and that were no answer to their request: late, repeated, or to another question.",
		"scenario")
	FlowControlStalls = iterations.counter("perfd_flow_control_stalls_total", "",
		"Times that a request over HTTP/2 waited with a part of its body, because its server took no more. The time is in the request's phase first_byte.",
		"scenario")
	VersionChanges = iterations.counter("perfd_protocol_version_changes_total", "",
		"Connections that spoke another version of HTTP than the one before them to the same host: what measures, or the target, has changed.",
		"scenario")
)

var workload = newSection("Load", "What the plan asks for, and what it has.")

// What the plan asks for.
var (
	VUs = workload.gauge("perfd_vus", "",
		"Virtual users that exist.",
		"scenario")
	VUsBusy = workload.gauge("perfd_vus_busy", "",
		"Virtual users that are in an iteration.",
		"scenario")
	PlannedArrivals = workload.gauge("perfd_planned_arrivals_per_second", "",
		"Iterations per second that the plan asks for now; shedding load does not lower it.",
		"scenario")
	PlannedVUs = workload.gauge("perfd_planned_vus", "",
		"Virtual users that the plan asks for now.",
		"scenario")
	BackoffRatio = workload.gauge("perfd_target_backoff_ratio", ratio,
		"Share of the planned load that is withheld because the target is in distress.",
		"target")
	MaintenanceEnd = workload.gauge("perfd_target_maintenance_end_timestamp_seconds", seconds,
		"When the declared maintenance of the target that is under way ends, in Unix time; absent while there is none.",
		"target", "name")
	TargetUp = workload.gauge("perfd_target_up", "",
		"Whether the target answered any request when it was last sent some.",
		"target")
)

var credentials = newSection("Credentials", "Tokens and keys that requests are sent with.")

// Credentials.
var (
	CredentialUp = credentials.gauge("perfd_credential_up", "",
		"Whether there is a value of the credential that requests can be sent with.",
		"credential")
	CredentialExpiry = credentials.gauge("perfd_credential_expiry_timestamp_seconds", seconds,
		"When the credential's last value expires, in Unix time; absent where it does not.",
		"credential")
	CredentialFetches = credentials.counter("perfd_credential_fetches_total", "",
		"Attempts to get a value of the credential.",
		"credential")
	CredentialFetchFailures = credentials.counter("perfd_credential_fetch_failures_total", "",
		"Attempts that failed, by what went wrong: no answer (as the causes of requests), guard, status, extract or file.",
		"credential", "reason")
)

var runs = newSection("Runs and schedule", "A run is one execution of a scenario.")

// Runs and their schedule.
var (
	RunInfo = runs.gauge("perfd_run_info", "",
		"The run that is under way, always 1, and the release of the scenario's target when it began.",
		"scenario", "run", "release")
	RunStart = runs.gauge("perfd_run_start_timestamp_seconds", seconds,
		"When the run that is under way began, in Unix time.",
		"scenario")
	RunLastEnd = runs.gauge("perfd_run_last_end_timestamp_seconds", seconds,
		"When the last run ended, in Unix time.",
		"scenario")
	Runs = runs.counter("perfd_runs_total", "",
		"Runs that ended, by result.",
		"scenario", "result")
	ScheduleNextRun = runs.gauge("perfd_schedule_next_run_timestamp_seconds", seconds,
		"When the next run is due, in Unix time.",
		"scenario")
	ScheduleMissed = runs.counter("perfd_schedule_missed_total", "",
		"Runs that were due and did not start.",
		"scenario")
)

var suites = newSection("Suites", "A suite is scenarios that run together.")

// Suites.
var (
	SuiteRunning = suites.gauge("perfd_suite_running", "",
		"Whether a run of the suite is under way: 1 or 0.",
		"suite")
	SuiteRuns = suites.counter("perfd_suite_runs_total", "",
		"Runs of the suite that ended, by result: the worst of its scenarios'.",
		"suite", "result")
	SuiteNextRun = suites.gauge("perfd_suite_next_run_timestamp_seconds", seconds,
		"When the suite's next run is due, in Unix time.",
		"suite")
	SuiteMissed = suites.counter("perfd_suite_missed_total", "",
		"Runs of the suite that were due and did not start.",
		"suite")
)

var measurement = newSection("Measurement", "Whether perfd itself disturbed what it measures.")

// Validity.
var (
	MeasurementValid = measurement.gauge("perfd_measurement_valid", "",
		"1 while measurements of the scenario can be trusted; 0 while perfd disturbed a fifth or more of the last five minutes.",
		"scenario")
	MeasurementInvalid = measurement.counter("perfd_measurement_invalid_seconds_total", seconds,
		"Time during which perfd disturbed its own measurement, by reason; what it cost is in perfd_objective_excluded_total.",
		"scenario", "reason")
)

var objectives = newSection("Objectives", "Verdicts on the SLA. Counters advance when a window closes; events that do not count are in `perfd_objective_excluded_total`.")

// Objectives.
var (
	ObjectiveInfo = objectives.gauge("perfd_objective_info", "",
		"An objective and what it says, always 1. One is about a step, a metric of the scenario's own, or about all steps, where both are empty.",
		"scenario", "objective", "step", "metric", "target", "kind", "percentile", "unit", "window", "severity")
	ObjectiveLimit = objectives.gauge("perfd_objective_limit", "",
		"The objective's limit, in the unit that perfd_objective_info names.",
		"scenario", "objective")
	ObjectiveValue = objectives.gauge("perfd_objective_value", "",
		"The objective's value over its window, in the unit of its limit; absent where nothing was measured.",
		"scenario", "objective")
	ObjectiveVerdict = objectives.gauge("perfd_objective_verdict", "",
		"1 for the verdict that holds, 0 for the others.",
		"scenario", "objective", "verdict")
	ObjectiveEvents = objectives.counter("perfd_objective_events_total", "",
		"Events that the objective counts: requests, arrivals or checks that are evidence.",
		"scenario", "objective")
	ObjectiveBad = objectives.counter("perfd_objective_bad_total", "",
		"Events that the objective calls bad.",
		"scenario", "objective")
	ObjectiveExcluded = objectives.counter("perfd_objective_excluded_total", "",
		"Events that do not count, by reason: of whole windows, or of requests that perfd itself disturbed.",
		"scenario", "objective", "reason")
	ObjectiveBudget = objectives.gauge("perfd_objective_budget_ratio", ratio,
		"Share of events that the objective allows to be bad.",
		"scenario", "objective")
	ObjectiveBurnLimit = objectives.gauge("perfd_objective_burn_limit_ratio", ratio,
		"Share of bad events above which the error budget burns too fast over the window; absent where it would be 1 or more, and for stress and spike tests.",
		"scenario", "objective", "window")
	ObjectiveBudgetRemaining = objectives.gauge("perfd_objective_budget_remaining_ratio", ratio,
		"Share of the error budget of the last 30 days that is left; negative where more was spent than there was.",
		"scenario", "objective")
	ObjectiveEvidence = objectives.gauge("perfd_objective_evidence_events", "",
		"Effective events that the verdict rests on, since it last began anew.",
		"scenario", "objective")
	Outage = objectives.gauge("perfd_outage", "",
		"Whether every request of the scenario fails: 18 or more one after the other, for 8 s or longer.",
		"scenario")
	Efficiency = objectives.gauge("perfd_efficiency_ratio", ratio,
		"Iterations that started over those the plan asked for, of the run under way.",
		"scenario")
)

var regressions = newSection("Releases and regressions", "What a release changed.")

// Releases and regressions.
var (
	TargetRelease = regressions.gauge("perfd_target_release_info", "",
		"The release that the target runs, always 1.",
		"target", "release")
	TargetReleaseSettled = regressions.gauge("perfd_target_release_settled", "",
		"0 while the target answers with more than one release, or changed it a short while ago: windows of that time do not count.",
		"target")
	TargetReleaseChanges = regressions.counter("perfd_target_release_changes_total", "",
		"Changes of the target's release.",
		"target")
	TargetReadFailures = regressions.counter("perfd_target_read_failures_total", "",
		"Attempts to read the target's release, its resources or the level that a replay follows that failed, by what went wrong.",
		"target", "what", "fault")
	RegressionSuspected = regressions.gauge("perfd_regression_suspected", "",
		"1 where a release, or a change that no release explains, made the statistic worse, 0 where that is proven not to be so, absent while neither is.",
		"scenario", "step", "statistic")
	RegressionVerdict = regressions.gauge("perfd_regression_verdict", "",
		"1 for the verdict that holds, 0 for the others: fail for a regression or a change, pass for a release that is proven to be no worse, inconclusive while neither is proven.",
		"scenario", "verdict")
	RegressionChange = regressions.gauge("perfd_regression_change_ratio", ratio,
		"Relative change of the statistic against its baseline: 0.15 is 15 % more. The step is empty for the whole scenario, and may be the name of a metric of the scenario's own.",
		"scenario", "step", "statistic")
	RegressionInfo = regressions.gauge("perfd_regression_info", "",
		"A suspected regression, always 1; the release and the one it was compared with. The step is as that of perfd_regression_change_ratio.",
		"scenario", "step", "statistic", "target", "release", "baseline")
)

var twins = newSection("Twins", "What tells a release from its environment: the scenario's target beside an untouched one under the same load.")

// Twins.
var (
	TwinVerdict = twins.gauge("perfd_twin_verdict", "",
		"1 for what is known, 0 for the others: release (the scenario's target alone is worse), environment (both are worse than they were), baseline (the baseline alone is), alike, unknown.",
		"scenario", "verdict")
	TwinInfo = twins.gauge("perfd_twin_info", "",
		"The two targets of a scenario with a twin and their releases, always 1.",
		"scenario", "target", "release", "baseline_target", "baseline_release")
	TwinChange = twins.gauge("perfd_twin_change_ratio", ratio,
		"The statistic on the scenario's target over that on its baseline under the same load, less one: 0.1 is 10 % slower. Of the error ratio it is the one less the other. The step is empty for the whole scenario, and may be the name of a metric of the scenario's own.",
		"scenario", "step", "statistic")
	TwinChangeLower = twins.gauge("perfd_twin_change_lower_ratio", ratio,
		"Lower bound of the change, at 95 %.",
		"scenario", "step", "statistic")
	TwinChangeUpper = twins.gauge("perfd_twin_change_upper_ratio", ratio,
		"Upper bound of the change, at 95 %.",
		"scenario", "step", "statistic")
	TwinEnvironment = twins.gauge("perfd_twin_environment_change_ratio", ratio,
		"How far both sides are above their own level of before, less one; absent while the environment is as it was.",
		"scenario", "statistic")
)

var resources = newSection("Resources, leaks and drift", "What a target needs while load is on it.")

// Resources, leaks and drift.
var (
	TargetResourceBytes = resources.gauge("perfd_target_resource_bytes", bytes,
		"Level of a resource in bytes, memory or disk, when it was last read.",
		"target", "resource", "member")
	TargetResourceCores = resources.gauge("perfd_target_resource_cpu_cores", "",
		"Cores that a cpu resource used between the last two reads.",
		"target", "resource", "member")
	TargetResourceBytesPerSecond = resources.gauge("perfd_target_resource_bytes_per_second", bytesPerSecond,
		"Bytes per second of a network resource between the last two reads.",
		"target", "resource", "member")
	TargetResourceCount = resources.gauge("perfd_target_resource_items", "",
		"Level of a resource that is counted when it was last read.",
		"target", "resource", "member")
	TargetResourceLimit = resources.gauge("perfd_target_resource_limit", "",
		"Limit of a resource as configured, in the unit of its level; absent without one.",
		"target", "resource")
	TargetResourceLimitRatio = resources.gauge("perfd_target_resource_limit_ratio", ratio,
		"Level over limit, of the highest reading of the latest sample; absent without a limit.",
		"target", "resource", "member")
	TargetResourceLimitExceeded = resources.gauge("perfd_target_resource_limit_exceeded", "",
		"1 while the level is at or above the threshold, by two readings in a row or on average over for: limit, or warn for the share of the limit from which to warn.",
		"target", "resource", "member", "threshold")
	LeakSuspected = resources.gauge("perfd_leak_suspected", "",
		"1 where the resource is proven to grow without end, 0 where it is proven not to, absent while neither is.",
		"target", "resource", "member")
	LeakVerdict = resources.gauge("perfd_leak_verdict", "",
		"1 for the verdict that holds, 0 for the others: fail for a leak, pass for none, inconclusive while neither is proven.",
		"target", "resource", "member", "verdict")
	LeakSlopeBytes = resources.gauge("perfd_leak_slope_bytes_per_second", bytesPerSecond,
		"Growth of a memory resource's floor, load accounted for.",
		"target", "resource", "member")
	LeakSlopeBytesLower = resources.gauge("perfd_leak_slope_lower_bytes_per_second", bytesPerSecond,
		"Lower bound of the growth's 95 % interval.",
		"target", "resource", "member")
	LeakSlopeBytesUpper = resources.gauge("perfd_leak_slope_upper_bytes_per_second", bytesPerSecond,
		"Upper bound of the growth's 95 % interval.",
		"target", "resource", "member")
	LeakSlopeCount = resources.gauge("perfd_leak_slope_count_per_second", countPerSecond,
		"Growth of a counted resource's floor, load accounted for.",
		"target", "resource", "member")
	LeakSlopeCountLower = resources.gauge("perfd_leak_slope_lower_count_per_second", countPerSecond,
		"Lower bound of the growth's 95 % interval.",
		"target", "resource", "member")
	LeakSlopeCountUpper = resources.gauge("perfd_leak_slope_upper_count_per_second", countPerSecond,
		"Upper bound of the growth's 95 % interval.",
		"target", "resource", "member")
	LeakSecondsToLimit = resources.gauge("perfd_leak_seconds_to_limit", "",
		"Time until the resource reaches its limit; +Inf where it is proven not to grow, absent without a limit and while nothing is proven.",
		"target", "resource", "member")
	DriftRatio = resources.gauge("perfd_drift_ratio", ratio,
		"Relative change of the statistic per day over the endurance run where it is proven, 0 where it is proven that there is none that matters, absent while neither is.",
		"scenario", "statistic")
	DriftVerdict = resources.gauge("perfd_drift_verdict", "",
		"1 for the verdict that holds of the endurance run, 0 for the others: fail for a drift, pass for none, inconclusive while neither is proven.",
		"scenario", "statistic", "verdict")
)

var historySection = newSection("History", "What perfd remembers, below `--storage.path`.")

// History and findings.
var (
	Findings = historySection.gauge("perfd_findings_active", "",
		"Findings that hold now, by kind.",
		"kind")
	HistoryBytes = historySection.gauge("perfd_history_bytes", bytes,
		"Bytes of windows on disk, by the length of their windows.",
		"tier")
	HistoryFaults = historySection.counter("perfd_history_faults_total", "",
		"Operations on the history's disk that failed.")
	HistoryLost = historySection.counter("perfd_history_lost_windows_total", "",
		"Windows, samples and events that could not be kept or judged because the ones before them were still being written.")
	AnalysisSeconds = historySection.counter("perfd_analysis_seconds_total", seconds,
		"Time that an analysis took, by the clock: at most as much of a processor.",
		"analysis")
)

var remoteWrite = newSection("Remote write", "What becomes of the snapshots that `remote_write` sends. Present only where it is configured.")

// Remote write.
var (
	RemoteWriteSamples = remoteWrite.counter("perfd_remote_write_samples_total", "",
		"Samples and native histograms that the receiver took.",
		"remote", "url")
	RemoteWriteSamplesFailed = remoteWrite.counter("perfd_remote_write_samples_failed_total", "",
		"Samples that the receiver refused for good.",
		"remote", "url")
	RemoteWriteSamplesRetried = remoteWrite.counter("perfd_remote_write_samples_retried_total", "",
		"Samples of requests that failed and were tried again.",
		"remote", "url")
	RemoteWriteSamplesDropped = remoteWrite.counter("perfd_remote_write_samples_dropped_total", "",
		"Samples that will not arrive, by reason.",
		"remote", "url", "reason")
	RemoteWriteExemplars = remoteWrite.counter("perfd_remote_write_exemplars_total", "",
		"Exemplars that the receiver took.",
		"remote", "url")
	RemoteWriteBytes = remoteWrite.counter("perfd_remote_write_sent_bytes_total", bytes,
		"Bytes of requests, compressed.",
		"remote", "url")
	RemoteWriteBatchDuration = remoteWrite.histogram("perfd_remote_write_sent_batch_duration_seconds",
		"Time that requests took, whatever came of them.",
		"remote", "url")
	RemoteWritePendingBytes = remoteWrite.gauge("perfd_remote_write_pending_bytes", bytes,
		"Bytes of the queue that were not sent yet.",
		"remote", "url")
	RemoteWriteHighestSentTimestamp = remoteWrite.gauge("perfd_remote_write_highest_sent_timestamp_seconds", seconds,
		"Timestamp up to which everything is sent or given up, in Unix time.",
		"remote", "url")
	RemoteWriteHighestTimestamp = remoteWrite.gauge("perfd_remote_write_highest_timestamp_seconds", seconds,
		"Timestamp of the last snapshot, in Unix time.")
	RemoteWriteBlocked = remoteWrite.gauge("perfd_remote_write_blocked", "",
		"1 while the receiver refuses access and samples wait for it, by its status; absent otherwise.",
		"remote", "url", "reason")
	RemoteWriteSnapshots = remoteWrite.counter("perfd_remote_write_snapshots_total", "",
		"Snapshots of all series that the queue took.")
	RemoteWriteSnapshotsSkipped = remoteWrite.counter("perfd_remote_write_snapshots_skipped_total", "",
		"Snapshots that were not taken, by reason.",
		"reason")
	RemoteWriteQueueBytes = remoteWrite.gauge("perfd_remote_write_queue_bytes", bytes,
		"Bytes that the queue holds.")
	RemoteWriteQueueMemoryBytes = remoteWrite.gauge("perfd_remote_write_queue_memory_bytes", bytes,
		"Bytes that the queue holds in memory because the disk takes none; a restart would lose them.")
	RemoteWriteQueueFaults = remoteWrite.counter("perfd_remote_write_queue_faults_total", "",
		"Operations on the queue's disk that failed.")
	RemoteWriteQueueDamagedBytes = remoteWrite.counter("perfd_remote_write_queue_damaged_bytes_total", bytes,
		"Bytes of the queue that were found damaged, and lost.")
)

var traces = newSection("Traces", "What becomes of spans. Present only where tracing is on.")

// Traces.
var (
	TraceSpans = traces.counter("perfd_trace_spans_total", "",
		"Spans that the collector took.")
	TraceSpansDropped = traces.counter("perfd_trace_spans_dropped_total", "",
		"Spans that were not exported, by reason.",
		"reason")
	TraceSpansQueued = traces.gauge("perfd_trace_spans_queued", "",
		"Spans that wait for their export.")
	TraceExportsFailed = traces.counter("perfd_trace_exports_failed_total", "",
		"Exports that failed, repeats included.")
)

var outputs = newSection("Outputs", "What becomes of the windows that outputs take. Present only where an output takes windows.")

// The outputs.
var (
	OutputWindowsLost = outputs.counter("perfd_output_windows_lost_total", "",
		"Windows that an output did not take, by reason: `queue_full` or `error`.",
		"output", "reason")
)

var daemon = newSection("Daemon", "perfd itself. Beside these it exposes client_golang's `go_*` and `process_*` metrics.")

// The daemon.
var (
	// BuildInfo is exposed by client_golang's version collector.
	BuildInfo = daemon.gauge("perfd_build_info", "",
		"What this perfd was built from, always 1.",
		"version", "revision", "branch", "goversion", "goos", "goarch", "tags")
	ShardInfo = daemon.gauge("perfd_shard_info", "",
		"Which shard this instance is, of how many, always 1.",
		"shard", "shards")
	Paused = daemon.gauge("perfd_paused", "",
		"1 while all load is paused.")
	ConfigReloadSuccessful = daemon.gauge("perfd_config_last_reload_successful", "",
		"Whether the last attempt to load the configuration succeeded.")
	ConfigReloadSuccessTime = daemon.gauge("perfd_config_last_reload_success_timestamp_seconds", seconds,
		"When the configuration was last loaded successfully, in Unix time.")
	ConfigScale = daemon.gauge("perfd_config_scale_ratio", ratio,
		"What times and load of the configuration are multiplied with in a rehearsal; 1 where they are as it says.",
		"of")
	TLSReloadFailures = daemon.counter("perfd_tls_reload_failures_total", "",
		"Looks at certificates, keys and authorities on disk that found what cannot be used: those from before stay in use. The log says once what is wrong.")
	LabelOverflow = daemon.counter("perfd_label_overflow_total", "",
		"Values of a label beyond its cap, which count under the value "+Overflow+".",
		"label")
	MetricsDropped = daemon.counter("perfd_metrics_dropped_total", "",
		"Series and families that were left out of `/metrics` because they could not be exposed, by reason. Any is a defect of perfd.",
		"reason")
)
