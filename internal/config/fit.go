package config

import (
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/pace"
)

// Misfits returns what is right by itself and cannot go together: load over the caps
// of its target, virtual users that are too few for the load, metrics that nothing sets, and times that a rehearsal does not scale. The configuration is
// accepted all the same, because the load that fits is made, and the rest is dropped and counted.
func (d *Document) Misfits() block.Mistakes {
	var errs block.Errors
	for _, s := range d.Scenarios {
		s.fits(&errs)
	}
	d.unscaled(&errs)
	for i := range d.Targets {
		d.fitTarget(d.Targets[i].Name, &errs)
	}
	return errs.Mistakes()
}

// Played is the scenario's workload as its schedule plays it.
func (s *Scenario) Played() pace.Config {
	if s.Schedule.AlwaysOn() {
		return s.Workload.Joined()
	}
	return s.Workload
}

// fits adds what does not fit within a scenario.
func (s *Scenario) fits(errs *block.Errors) {
	most, peak := float64(s.Workload.MostVUs()), s.Played().Peak()
	for _, name := range s.Program.Unset {
		errs.Add(name.Pos, name.Path, "nothing sets the metric %q", name.S).Hint = "a step sets it with add: {" + name.S + ": …}"
	}
	if !s.Workload.Open() {
		return
	}
	at := s.At.Get("workload")
	// Little's law: of iterations that begin at a rate and last for a time, rate × time are under way (Little, "A
	// proof for the queuing formula L = λW", Operations Research 9, 1961).
	if need := peak * s.Program.Think.Seconds(); need > most {
		errs.Add(at.Pos, at.Path, "%s iterations/s that think for %s each need %s virtual users, and there are at most %s: arrivals are dropped (vu_cap) however fast the target answers",
			amount.Count(peak), s.Program.Think, amount.Count(need), amount.Count(most)).Hint = "raise max_vus, or lower the rate"
		return
	}
	var slowest time.Duration
	for step := range s.Program.Steps {
		if s.Program.Steps[step].Metric != nil {
			continue // its values are no answers
		}
		for _, limit := range s.Limits(step) {
			slowest = max(slowest, limit)
		}
	}
	lasts := s.Program.Think + slowest
	if need := peak * lasts.Seconds(); slowest > 0 && need > most {
		errs.Add(at.Pos, at.Path, "%s iterations/s with an answer that is as slow as an objective allows (%s) need %s virtual users, and there are at most %s: arrivals are dropped (no_free_vu) before the objective is missed",
			amount.Count(peak), slowest, amount.Count(need), amount.Count(most)).Hint = "raise max_vus: arrivals per second times the seconds an iteration lasts, and room for slow days"
	}
}

// fitTarget adds what does not fit on a target.
func (d *Document) fitTarget(name block.Text, errs *block.Errors) {
	limits := d.Target(name.S).Limits
	rate, key := d.Safety.MaxRequestRate, "safety.max_request_rate"
	if own := limits.RequestRate; own.Count > 0 && own.PerSecond() < rate.PerSecond() {
		rate, key = own, "limits.request_rate"
	}
	all, asking, over, vus := 0.0, 0, false, 0
	for _, s := range d.sides() {
		requests, uses := s.requestsTo(name.S)
		if !uses {
			continue
		}
		vus += s.Workload.MostVUs()
		peak, what := s.Played().Peak(), "asks for"
		if !s.Workload.Open() {
			if s.Program.Think == 0 {
				continue // takes what the target gives
			}
			peak, what = peak/s.Program.Think.Seconds(), "may come to"
		}
		if peak *= requests; peak > rate.PerSecond() {
			at := s.At.Get("workload")
			errs.Add(at.Pos, at.Path, "%s %s requests/s of target %s at its peak, and %s allows %s: the rest is dropped or waits (rate_cap)", what, amount.Count(peak), name.S, key, rate)
			over = true
		}
		if s.Workload.Open() && peak > 0 {
			all += peak
			asking++
		}
	}
	if all > rate.PerSecond() && asking > 1 && !over {
		errs.Add(name.Pos, name.Path, "the %d scenarios on target %s ask for %s requests/s together when all are at their peaks, and %s allows %s: each gets an equal part, the rest is dropped (rate_cap)", asking, name.S, amount.Count(all), key, rate)
	}
	if most := limits.Connections; most > 0 && vus > most {
		errs.Add(name.Pos, name.Path, "scenarios on target %s have up to %d virtual users, each with a connection of its own, and limits.connections allows %d: requests beyond fail (overload)", name.S, vus, most).Hint = "raise limits.connections or lower the numbers of virtual users"
	}
}

// requestsTo is how many requests an iteration sends to a target in the mean; uses
// reports whether any step goes there.
func (s *Scenario) requestsTo(target string) (n float64, uses bool) {
	for _, step := range s.Program.Steps {
		if step.Target == target && !step.Group {
			n += step.Expected
			uses = true
		}
	}
	return n, uses
}
