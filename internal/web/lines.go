package web

import (
	"time"

	"github.com/perfd/perfd/internal/load"
)

// A moment is a finding and the instant at which somebody looks at it.
type moment struct {
	load.Finding
	Now time.Time
}

func at(f load.Finding, now time.Time) moment { return moment{f, now} }

// over reports whether a finding held and holds no more.
func over(f load.Finding) bool { return f.State == load.Recovered || f.State == load.Accepted }

// tone is the colour of a finding: of its verdict, as long as that stands.
func tone(f load.Finding) string {
	if over(f) {
		return "idle"
	}
	return verdictTone(f.Verdict)
}

// verdictTone is the colour of a verdict that stands.
func verdictTone(v load.Verdict) string {
	switch v {
	case load.Fail:
		return "bad"
	case load.Pass:
		return "good"
	}
	return "warn"
}
