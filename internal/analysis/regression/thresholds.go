package regression

// Thresholds are the tunable numbers of the analysis. The simulations behind docs/verdicts.md judge
// them together.
type Thresholds struct {
	// Confidence is that of all intervals in findings.
	Confidence float64
	// WorseLevel is the probability with which a release that is no worse is called worse by any
	// look, step or statistic of its scenario: that of one side of an interval.
	WorseLevel float64
	// ChangeLevel is the probability with which a search finds a change where there is none in any
	// step or statistic of a scenario. A series is searched each hour, so it is lower than WorseLevel.
	ChangeLevel float64

	// EqualLoad is by how much loads may differ that count as equal: latencies of most services
	// hardly move within a tenth of their load.
	EqualLoad float64
	// Errors is the share of additional failures below which a worse error ratio does not matter.
	Errors float64

	// Effective is how many independent intervals a side must be worth: Welch's t has no power with fewer.
	Effective int
	// Runs is how many runs both sides must have together where runs are the unit: with fewer no
	// order of them is significant.
	Runs int
	// Settled is the number of intervals from which one side alone says for how long neighbours
	// resemble each other.
	Settled int
	// FirstLook is the number of intervals at which a release is looked at first, a few more than Effective.
	FirstLook int

	// Searched is how many of the last points are searched for changes: a little over eight days of hours,
	// so that a week and what came before it are in sight.
	Searched int
	// ByRelease is within how many points of a release a change belongs to it: a release takes effect
	// while an hour is under way, and places are uncertain by one or two.
	ByRelease int
	// LastLevel is how many of the last points say where a level is.
	LastLevel int

	// UsualWeeks is how many weeks before an hour are looked at for the same hour of the week.
	UsualWeeks int
	// UsualDays is how many days of the same type before an hour are looked at for the same hour of
	// the day, among those of the last two weeks: a working week.
	UsualDays int
	// Season is how many deviations from like hours say whether a series has a season: a day of them.
	Season int
	// SeasonShare is the share of a series' mean absolute deviation that is left after like hours are taken
	// away, from which it has no season. Differences of independent values deviate by 1.1 to 1.4
	// times as much as the values do.
	SeasonShare float64
	// Alike is how many hours since a change must have like hours before it.
	Alike int
	// BesideChange is how many hours before a change its deviations from like hours are compared with.
	BesideChange int
}

// DefaultThresholds are those that perfd judges with.
func DefaultThresholds() Thresholds {
	return Thresholds{
		Confidence: 0.95, WorseLevel: 0.025, ChangeLevel: 0.01,
		EqualLoad: 0.10, Errors: 0.001,
		Effective: 8, Runs: 6, Settled: 40, FirstLook: 12,
		Searched: 200, ByRelease: 3, LastLevel: 5,
		UsualWeeks: 4, UsualDays: 5, Season: 24, SeasonShare: 0.8, Alike: 3, BesideChange: 48,
	}
}

// thresholds are read only.
var thresholds = DefaultThresholds()
