package stories

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/perfd/perfd/internal/demo"
)

// baseline is for how long windows must count before a release that others can
// be compared with: a comparison takes twelve intervals of a minute.
const baseline = 13 * time.Minute

// A release makes a shop half as fast.
func slow(ctx context.Context, s *stage) {
	const rate = 20
	for s.scrape(s.main).Value("perfd_objective_events_total", "scenario=slow") < rate*baseline.Seconds() {
		if !pause(ctx, time.Second) {
			s.t.Error("slow: the release before was not measured in time")
			return
		}
	}
	f := s.breaks("slow", s.main, "slow", "p95", rate)
	s.shops["slow"].turn(s.t, func(k *demo.Knobs) { k.Release, k.Slowdown = "v1.1.0", 2 })
	for _, from := range []string{current, old} {
		s.told(ctx, f, from, 10*time.Minute, "alertname=PerfdObjectiveFailed", "scenario=slow", "objective=p95")
	}
	for _, from := range []string{current, old} {
		// Half a minute to settle, twelve intervals, and two minutes of the rule.
		n, ok := s.told(ctx, f, from, 17*time.Minute, "alertname=PerfdRegressionSuspected", "scenario=slow", "release=v1.1.0", "baseline=v1.0.0")
		if !ok {
			continue
		}
		for _, word := range []string{"slow", "v1.1.0", "v1.0.0", n.Labels["step"], n.Labels["statistic"]} {
			if !strings.Contains(n.Annotations["description"], word) {
				s.t.Errorf("slow: the notification does not name %s: %s", word, n.Annotations["description"])
			}
		}
		if step := n.Labels["step"]; !slices.Contains([]string{"", "list products", "show product"}, step) {
			s.t.Errorf("slow: the notification names step %s, which the scenario has not", step)
		}
	}
}

// A shop leaks from its first request on. The same heap has a limit that is an hour
// away and one that is days away.
func leaking(ctx context.Context, s *stage) {
	f := s.breaks("leak", s.main, "leak", "errors", 12)
	for _, x := range []struct {
		resource, alert, severity string
		limit                     float64
	}{
		{"heap", "PerfdLeakNearLimit", "critical", 2 << 30},
		{"roomy", "PerfdMemoryLeakSuspected", "warning", 64 << 30},
	} {
		for _, from := range []string{current, old} {
			n, ok := s.told(ctx, f, from, 15*time.Minute, "alertname="+x.alert, "severity="+x.severity, "target=shop-leak", "resource="+x.resource)
			if !ok {
				continue
			}
			said, err := readLimit(n.Annotations["description"])
			if err != nil {
				s.t.Errorf("leak: %v", err)
				continue
			}
			truth := s.shops["leak"].untilLimit(n.At, x.limit)
			off := said.Seconds()/truth.Seconds() - 1
			s.t.Logf("leak: Prometheus %s says %v to the limit of %s, the truth is %v: %+.1f %%", from, said, x.resource, truth.Round(time.Second), 100*off)
			if math.Abs(off) > 0.25 {
				s.t.Errorf("leak: the notification says %v to the limit, %+.0f %% off the truth of %v", said, 100*off, truth)
			}
		}
	}
}

// untilLimit is the time in the shop's life that is left at an instant: until
// its heap, as it is before a collection, reaches a limit.
func (s *shop) untilLimit(at time.Time, limit float64) time.Duration {
	rate := float64(s.Requests()) / time.Since(s.opened).Seconds()
	requests := float64(s.Requests()) - rate*time.Since(at).Seconds()
	return time.Duration((limit - live - garbage - requests*leakEach) / (rate * leakEach) * float64(time.Second))
}

var timeToLimit = regexp.MustCompile(`its limit in (?:(\d+)d )?((?:\d+h )?(?:\d+m )?\d+s)`)

// readLimit reads the time to a limit as Prometheus writes durations: 1d 2h 3m 4s.
func readLimit(description string) (time.Duration, error) {
	m := timeToLimit.FindStringSubmatch(description)
	if m == nil {
		return 0, fmt.Errorf("no time to the limit: %s", description)
	}
	days, _ := strconv.Atoi(m[1]) // none is 0
	d, err := time.ParseDuration(strings.ReplaceAll(m[2], " ", ""))
	return d + time.Duration(days)*24*time.Hour, err
}

// Perfd itself gets no processor, again and again.
func starved(ctx context.Context, s *stage) {
	const (
		bursts  = 18
		stopped = 3 * time.Second
		let     = 7 * time.Second
	)
	if !pause(ctx, 2*time.Minute) {
		return
	}
	s.quiet(ctx, "starved", 15*time.Minute)
	f := s.breaks("starved", s.starved, "starved", "errors", 20)
	stalls := s.scrape(s.starved).Value(invalidSeconds, "reason=pacer_gap")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range bursts {
			err := s.starved.Signal(syscall.SIGSTOP)
			pause(ctx, stopped)
			if cont := s.starved.Signal(syscall.SIGCONT); err != nil || cont != nil {
				s.t.Errorf("starved: stop and continue perfd: %v, %v", err, cont)
				return
			}
			pause(ctx, let)
		}
	}()
	// The bar is for the first of them: what they take away is no excuse.
	f.rate = math.Inf(1)
	s.told(ctx, f, current, time.Minute, "alertname="+invalid, "scenario=starved")
	s.told(ctx, f, old, time.Minute, "alertname="+invalid, "scenario=starved")
	<-done
	if got := s.scrape(s.starved).Value(invalidSeconds, "reason=pacer_gap") - stalls; got < bursts*stopped.Seconds()*0.9 {
		s.t.Errorf("starved: perfd counts %.0f s in which it stood still, want the %v of the bursts", got, bursts*stopped)
	}
	// What an alert on the SLA would take.
	pause(ctx, 5*time.Minute)
}

// A shop is well, and its memory goes up and down.
func healthy(ctx context.Context, s *stage) {
	// More than an hour for the rules that are four times as fast.
	const long = 17 * time.Minute
	before := s.scrape(s.main).Value("perfd_requests_total", "scenario=healthy")
	if !pause(ctx, long) {
		return
	}
	if got := s.scrape(s.main).Value("perfd_requests_total", "scenario=healthy") - before; got < 0.9*12*long.Seconds() {
		s.t.Errorf("healthy: %v requests in %v, want 12 a second", got, long)
	}
}

// A shop hangs for five minutes.
func hang(ctx context.Context, s *stage) {
	const hung = 5 * time.Minute
	if !pause(ctx, 3*time.Minute) {
		return
	}
	s.quiet(ctx, "hang", 15*time.Minute)
	// In the middle of a window: how much of the first one is whole must not be chance.
	pause(ctx, time.Until(time.Now().Truncate(window).Add(window+window/2)))
	f := s.breaks("hang", s.main, "hang", "errors", 10)
	s.shops["hang"].turn(s.t, func(k *demo.Knobs) { k.Hang = true })
	over := make(chan struct{})
	go func() {
		defer close(over)
		pause(ctx, hung)
		s.shops["hang"].turn(s.t, func(k *demo.Knobs) { k.Hang = false })
	}()
	s.told(ctx, f, current, 2*time.Minute, "alertname=PerfdTargetUnreachable", "scenario=hang")
	s.told(ctx, f, current, slaBar, "concern=sla", "scenario=hang")
	s.told(ctx, f, old, 2*time.Minute, "alertname=PerfdTargetUnreachable", "scenario=hang")
	s.told(ctx, f, old, slaBar, "concern=sla", "scenario=hang")
	<-over
	pause(ctx, 2*time.Minute)
}

// slaBar is how long it may take until somebody is told that everything fails: three
// minutes, and a window, because a fault falls anywhere into one.
const slaBar = 3*time.Minute + window

// stressed is how long the stress test runs, as its schedule says.
const stressed = 3 * time.Minute

// stressBegins is the first whole minute four minutes after the beginning, or later.
func (s *stage) stressBegins() time.Time { return s.began.Truncate(time.Minute).Add(5 * time.Minute) }

// A stress test breaks the shop that another scenario soaks.
func stress(ctx context.Context, s *stage) {
	if !pause(ctx, time.Until(s.stressBegins())) {
		return
	}
	f := s.breaks("stress", s.main, "soak", "errors", 5)
	before := s.scrape(s.main)
	s.told(ctx, f, current, stressed+2*time.Minute, "alertname=PerfdRunFailed", "scenario=stress")
	// What an alert on the SLA would take.
	if !pause(ctx, time.Until(f.at.Add(stressed+4*time.Minute))) {
		return
	}
	after := s.scrape(s.main)
	since := func(name string, labels ...string) float64 {
		return after.Value(name, labels...) - before.Value(name, labels...)
	}
	failed := since("perfd_request_failures_total", "scenario=soak", "cause=status")
	disturbed := since(excluded, "scenario=soak", "objective=errors", "reason=disturbed")
	broken := since("perfd_objective_bad_total", "scenario=soak", "objective=errors")
	s.t.Logf("stress: %v requests of the soak failed, %v are excluded as disturbed, %v count as bad; the machine took away %v", failed, disturbed, broken, s.lost(f))
	if failed < 100 {
		s.t.Errorf("stress: %v requests of the soak failed, want a shop that broke", failed)
	}
	// Windows in which the machine disturbed perfd as well are counted as invalid.
	if least := 5 * (stressed - 10*time.Second - s.lost(f)).Seconds(); disturbed < least {
		s.t.Errorf("stress: %v events of the soak are excluded as disturbed, want at least %v", disturbed, least)
	}
	if broken > 0 {
		s.t.Errorf("stress: %v events of the soak count as bad, want none", broken)
	}
}
