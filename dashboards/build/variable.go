package build

import "slices"

// identity returns the variables that every dashboard has.
func identity() []Variable {
	return []Variable{
		{Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus", Refresh: 1},
		values("job", "Job", `label_values(perfd_build_info, job)`),
		values("instance", "Instance", `label_values(perfd_build_info{job=~"$job"}, instance)`),
	}
}

// The variables that some dashboards have.
var (
	scenarioVariable  = values("scenario", "Scenario", `label_values(perfd_scenario_info{@all}, scenario)`)
	stepVariable      = values("step", "Step", `label_values(perfd_step_info{@scenario}, step)`)
	targetVariable    = values("target", "Target", `label_values(perfd_scenario_target_info{@all}, target)`)
	objectiveVariable = values("objective", "Objective", `label_values(perfd_objective_info{@scenario}, objective)`)

	// Its value ends the name of a histogram's series: one query serves classic
	// and native histograms, and Prometheus reads only one of them.
	histogramVariable = Variable{
		Name: "seconds", Label: "Histograms", Type: "custom", Query: "classic : seconds_bucket, native : seconds",
		Current: &Choice{"classic", "seconds_bucket", true},
		Options: []Choice{{"classic", "seconds_bucket", true}, {"native", "seconds", false}},
	}

	// Which data source holds spans cannot be known; it takes part in links only.
	tracingVariable = Variable{Name: "tracing", Label: "Traces", Type: "datasource", Query: "tempo", Refresh: 1}
)

func values(name, label, query string) Variable {
	query = expr(query)
	return Variable{
		Name: name, Label: label, Type: "query", Datasource: &prometheus,
		Query: Query{query, name}, Definition: query, Refresh: 2, Sort: 1,
		Multi: true, IncludeAll: true, AllValue: ".*", Current: &Choice{"All", "$__all", true},
	}
}

// one turns a variable into a choice of exactly one value.
func one(v Variable) Variable {
	v.Multi, v.IncludeAll, v.AllValue, v.Current = false, false, "", nil
	return v
}

// annotations returns the marks for a dashboard with these variables. A mark is
// set where something is true that was not in the ten minutes before, so that a
// scrape that failed sets none.
func annotations(variables []Variable) []Annotation {
	scenario, target := "{@all", "{@all"
	if has(variables, "scenario") {
		scenario = "{@scenario"
	}
	if has(variables, "target") {
		target = "{@target"
	}
	list := []Annotation{
		{
			Name: "Runs", IconColor: "blue", UseValueForTime: true,
			Expr:        `max by (scenario) (perfd_run_start_timestamp_seconds` + scenario + `}) * 1000`,
			TitleFormat: "run of {{scenario}} began", TagKeys: "scenario",
		},
		{
			Name: "Releases", IconColor: "purple",
			Expr:        began("target, release", `perfd_target_release_info`+target+`}`, ""),
			TitleFormat: "{{target}} runs {{release}}", TagKeys: "target,release",
		},
		{
			Name: "Broken objectives", IconColor: "red",
			Expr:        began("scenario, objective", `perfd_objective_verdict`+scenario+`, verdict="fail"}`, " > 0.5"),
			TitleFormat: "{{scenario}} fails {{objective}}", TagKeys: "scenario,objective",
		},
		{
			Name: "Regressions", IconColor: "orange",
			Expr:        began("scenario, step, statistic, release, baseline", `perfd_regression_info`+scenario+`}`, ""),
			TitleFormat: "{{scenario}} {{step}}: {{statistic}} worse", TextFormat: "{{release}} against {{baseline}}", TagKeys: "scenario,step",
		},
		{
			Name: "Leaks", IconColor: "yellow",
			Expr:        began("target, resource, member", `perfd_leak_suspected`+target+`}`, " > 0.5"),
			TitleFormat: "{{target}} {{resource}} {{member}} grows without end", TagKeys: "target,resource",
		},
	}
	for i := range list {
		a := &list[i]
		a.Datasource, a.Enable, a.Expr = prometheus, true, expr(a.Expr)
	}
	return list
}

// began is where a series is over a level, or there at all, and was not shortly before.
func began(by, series, level string) string {
	return `max by (` + by + `) (` + series + `)` + level + ` unless max by (` + by + `) (max_over_time(` + series + `[10m] offset 1m))` + level
}

func has(variables []Variable, name string) bool {
	return slices.ContainsFunc(variables, func(v Variable) bool { return v.Name == name })
}
