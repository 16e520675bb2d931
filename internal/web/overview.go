package web

// An overview is the first line of the landing page: what somebody across the
// room wants to know.
type overview struct {
	Mood        string // good, warn, bad or idle: the colour
	Headline    string
	Scenarios   int
	Running     int
	RequestRate float64 // of all scenarios
	DropRate    float64 // likewise
	Invalid     int     // scenarios whose measurement is not valid
	Failing     int     // scenarios with an alarming share of failures
}

// alarming is the share of failed requests from which a number stands out. It
// judges nothing: verdicts are those of objectives.
const alarming = 0.01

func overviewOf(st Status, scenarios []Scenario) overview {
	o := overview{Scenarios: len(scenarios)}
	for _, s := range scenarios {
		o.RequestRate += s.RequestRate
		o.DropRate += s.DropRate
		if s.State == "running" {
			o.Running++
		}
		if !s.Valid {
			o.Invalid++
		}
		if s.ErrorRatio >= alarming {
			o.Failing++
		}
	}
	switch {
	case st.Paused:
		o.Mood, o.Headline = "warn", "Load is paused"
	case !st.Ready:
		o.Mood, o.Headline = "warn", "Not ready"
	case o.Failing > 0:
		o.Mood, o.Headline = "bad", "Requests fail"
	case o.Invalid > 0:
		o.Mood, o.Headline = "warn", "perfd disturbs its measurement"
	case o.Running > 0:
		o.Mood, o.Headline = "good", "Load is on"
	default:
		o.Mood, o.Headline = "idle", "Nothing is due"
	}
	return o
}

// mood is the colour of a scenario's state.
func mood(s Scenario) string {
	switch s.State {
	case "running":
		return "good"
	case "paused", "blackout", "draining":
		return "warn"
	}
	return "idle"
}
