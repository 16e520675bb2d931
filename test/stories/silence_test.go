package stories

import "slices"

// invalid is the alert that says that perfd disturbed its own measurement.
const invalid = "PerfdMeasurementInvalid"

// expected lists the alerts that may fire for each scenario, or for a target where
// an alert names no scenario. No other may.
var expected = map[string][]string{
	// Runs without end are cut at midnight, and fail where their objectives fail.
	"slow":      {"PerfdObjectiveFailed", "PerfdBudgetBurnFast", "PerfdBudgetBurnSlow", "PerfdRegressionSuspected", "PerfdRunFailed"},
	"shop-leak": {"PerfdMemoryLeakSuspected", "PerfdLeakNearLimit"},
	// perfd takes load away from a shop that hangs.
	"hang":   {"PerfdTargetUnreachable", "PerfdEverythingFails", "PerfdObjectiveFailed", "PerfdBudgetBurnFast", "PerfdBudgetBurnSlow", "PerfdLoadShort", "PerfdRunFailed"},
	"stress": {"PerfdRunFailed", "PerfdEverythingFails"},
	// Arrivals that were due while perfd was stopped are dropped.
	"starved": {invalid, "PerfdLoadShort"},
}

// checkSilence fails the test for every notification that is not expected.
func (s *stage) checkSilence() {
	list, _ := s.inbox.all()
	for _, n := range list {
		of := n.Labels["scenario"]
		if of == "" {
			of = n.Labels["target"]
		}
		if n.InhibitedBy != "" || n.Status != firing || slices.Contains(expected[of], n.Labels["alertname"]) || s.machine(n) {
			continue
		}
		s.t.Errorf("%s of Prometheus %s arrived %s after the beginning and must not: %v %s",
			n.Labels["alertname"], n.From, s.since(n.At), n.Labels, n.Annotations["description"])
	}
}

// machines are the reasons for an invalid measurement that a busy machine may cause.
var machines = []string{"pacer_gap", "lateness", "late", "throttled"}

const invalidSeconds = "perfd_measurement_invalid_seconds_total"

// machine reports whether a notice is about a disturbance by the machine, which perfd counted.
func (s *stage) machine(n notice) bool {
	if n.Labels["alertname"] != invalid {
		return false
	}
	seconds := 0.0
	for _, reason := range machines {
		seconds += s.scrape(s.main).Value(invalidSeconds, "scenario="+n.Labels["scenario"], "reason="+reason)
	}
	return seconds > 0
}

// checkInvalid fails the test if a target that hangs or is overloaded makes a measurement
// invalid: what the machine does, it does to the healthy scenario about as often.
func (s *stage) checkInvalid() {
	total := map[string]float64{}
	for _, x := range s.scrape(s.main).Series(invalidSeconds) {
		labels := map[string]string{}
		for _, l := range x.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		scenario, reason, seconds := labels["scenario"], labels["reason"], x.GetCounter().GetValue()
		total[scenario] += seconds
		if seconds > 0 {
			s.t.Logf("the measurement of %s was invalid for %.1f s (%s)", scenario, seconds, reason)
		}
		if seconds > 0 && !slices.Contains(machines, reason) {
			s.t.Errorf("%s: the measurement was invalid for %.1f s (%s), which no machine does", scenario, seconds, reason)
		}
	}
	for scenario, seconds := range total {
		if most := 2*total["healthy"] + 10; seconds > most {
			s.t.Errorf("%s: the measurement was invalid for %.1f s, want at most %.1f s beside the %.1f s of healthy", scenario, seconds, most, total["healthy"])
		}
	}
}
