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

// baseline is how much valid measurement a release needs before another one can
// be compared with it: a comparison takes twelve intervals of a minute.
const baseline = 13 * time.Minute

// slow changes a shop to a release that is half as fast.
func slow(ctx context.Context, s *stage) {
	const rate = 20
	for s.scrape(s.main).Value("perfd_objective_events_total", "scenario=slow") < rate*baseline.Seconds() {
		if !pause(ctx, time.Second) {
			s.t.Error("slow: the first release was not measured in time")
			return
		}
	}
	f := s.breaks("slow", s.main, "slow", "p95", rate)
	s.shops["slow"].turn(s.t, func(k *demo.Knobs) { k.Release, k.Slowdown = "v1.1.0", 2 })
	for _, from := range []string{current, old} {
		n, ok := s.await(ctx, f, from, 10*time.Minute, "alertname=PerfdObjectiveFailed", "scenario=slow", "objective=p95")
		if summary := n.Annotations["summary"]; ok && !objectiveSummary.MatchString(summary) {
			s.t.Errorf("slow: the summary of the objective is %q", summary)
		}
	}
	for _, from := range []string{current, old} {
		// Half a minute to settle, twelve intervals, and two minutes of the rule.
		n, ok := s.awaitBut(ctx, f, from, 17*time.Minute, "PerfdObjectiveFailed", "alertname=PerfdRegressionSuspected", "scenario=slow", "release=v1.1.0", "baseline=v1.0.0")
		if !ok {
			continue
		}
		if said := n.Annotations["description"]; !statistics.MatchString(said) {
			s.t.Errorf("slow: the notification does not say which statistics changed, and by how much: %s", said)
		}
		for _, word := range []string{"slow", "v1.1.0", "v1.0.0", n.Labels["step"]} {
			if !strings.Contains(n.Annotations["description"], word) {
				s.t.Errorf("slow: the notification does not name %s: %s", word, n.Annotations["description"])
			}
		}
		if step := n.Labels["step"]; !slices.Contains([]string{"", "list products", "show product"}, step) {
			s.t.Errorf("slow: the notification names step %s, which the scenario has not", step)
		}
	}
}

var objectiveSummary = regexp.MustCompile(`^slow: p95 [0-9.]+ms, limit 380ms, release v1\.1\.0$`)

// statistics are those of a shop that is half as fast: which of them are proven is chance.
var statistics = regexp.MustCompile(`: (p50|p95|p99) \+[0-9.]+ %(, (p50|p95|p99) \+[0-9.]+ %)* with release`)

// leaking watches a shop that leaks from its first request on. The same heap has
// a limit that is an hour away and one that is days away.
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
			n, ok := s.await(ctx, f, from, 15*time.Minute, "alertname="+x.alert, "severity="+x.severity, "target=shop-leak", "resource="+x.resource)
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

// untilLimit is the time that is left at an instant until the shop's heap, as it
// is before a collection, reaches a limit in bytes.
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

// starved stops a perfd again and again, as a machine without a free processor does.
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
	// A fifth of five minutes is lost after three and a half at most. The limit holds from the
	// first stop on: what the stops exclude must not extend it.
	f.rate = math.Inf(1)
	s.await(ctx, f, current, 4*time.Minute, "alertname="+invalid, "scenario=starved")
	s.await(ctx, f, old, 4*time.Minute, "alertname="+invalid, "scenario=starved")
	<-done
	if got := s.scrape(s.starved).Value(invalidSeconds, "reason=pacer_gap") - stalls; got < bursts*stopped.Seconds()*0.9 {
		s.t.Errorf("starved: perfd counts %.0f s in which it was stopped, want the %v of the bursts", got, bursts*stopped)
	}
	// What an alert on the SLA would take.
	pause(ctx, 5*time.Minute)
}

// healthy watches a shop without a fault, whose memory is a sawtooth.
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

// hang makes a shop hang for five minutes.
func hang(ctx context.Context, s *stage) {
	const hung = 5 * time.Minute
	if !pause(ctx, 3*time.Minute) {
		return
	}
	s.quiet(ctx, "hang", 15*time.Minute)
	// A fault in the middle of a window leaves the same part of its first window every time.
	pause(ctx, time.Until(time.Now().Truncate(window).Add(window+window/2)))
	f := s.breaks("hang", s.main, "hang", "errors", 10)
	s.shops["hang"].turn(s.t, func(k *demo.Knobs) { k.Hang = true })
	over := make(chan struct{})
	go func() {
		defer close(over)
		pause(ctx, hung)
		s.shops["hang"].turn(s.t, func(k *demo.Knobs) { k.Hang = false })
	}()
	const cause = "PerfdEverythingFails"
	for _, from := range []string{current, old} {
		s.await(ctx, f, from, 2*time.Minute, "alertname="+cause, "scenario=hang")
		s.awaitBut(ctx, f, from, 2*time.Minute, cause, "alertname=PerfdTargetUnreachable", "scenario=hang")
		s.awaitBut(ctx, f, from, slaBar, cause, "concern=sla", "scenario=hang")
	}
	<-over
	s.onePage("hang", "hang", cause)
	pause(ctx, 2*time.Minute)
}

// slaBar is how long after the fault the notification may come that everything fails: three
// minutes, and a window, because a fault may begin anywhere in one.
const slaBar = 3*time.Minute + window

// stressed is how long the stress test runs, as its schedule says.
const stressed = 3 * time.Minute

// stressBegins is the first whole minute four minutes after the beginning, or later.
func (s *stage) stressBegins() time.Time { return s.began.Truncate(time.Minute).Add(5 * time.Minute) }

// stress runs a stress test that breaks the shop which another scenario soaks.
func stress(ctx context.Context, s *stage) {
	if !pause(ctx, time.Until(s.stressBegins())) {
		return
	}
	f := s.breaks("stress", s.main, "soak", "errors", 5)
	before := s.scrape(s.main)
	s.await(ctx, f, current, stressed+2*time.Minute, "alertname=PerfdRunFailed", "scenario=stress")
	// What an alert on the SLA would take.
	if !pause(ctx, time.Until(f.at.Add(stressed+4*time.Minute))) {
		return
	}
	after := s.scrape(s.main)
	since := func(name string, labels ...string) float64 {
		return after.Value(name, labels...) - before.Value(name, labels...)
	}
	failed := since("perfd_request_failures_total", "scenario=soak", "cause=status")
	excludedSince := since(excluded, "scenario=soak", "objective=errors", "reason=disturbed")
	broken := since("perfd_objective_bad_total", "scenario=soak", "objective=errors")
	s.t.Logf("stress: %v requests of the soak failed, %v are excluded as disturbed, %v count as bad; the machine disturbed perfd for %v", failed, excludedSince, broken, s.disturbed(f))
	if failed < 100 {
		s.t.Errorf("stress: %v requests of the soak failed, want a shop that breaks", failed)
	}
	// Windows in which the machine disturbed perfd as well are counted as invalid.
	if least := 5 * (stressed - 10*time.Second - s.disturbed(f)).Seconds(); excludedSince < least {
		s.t.Errorf("stress: %v events of the soak are excluded as disturbed, want at least %v", excludedSince, least)
	}
	if broken > 0 {
		s.t.Errorf("stress: %v events of the soak count as bad, want none", broken)
	}
}
