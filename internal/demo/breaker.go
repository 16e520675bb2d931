package demo

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
)

const (
	// breakerWindow is the time whose calls a closed breaker looks at.
	breakerWindow = 10 * time.Second
	// A breaker opens when breakerShare of at least breakerLeast calls failed.
	breakerLeast = 10
	breakerShare = 0.2
	// breakerPause is how long an open breaker lets no call through.
	breakerPause = 10 * time.Second
	// breakerProbes is how many calls a half-open breaker lets through; it closes when all succeed, and opens again with the first that fails.
	breakerProbes = 5
)

// A breaker is a circuit breaker with metrics.
type breaker struct {
	*gobreaker.CircuitBreaker[struct{}]
	trips, recoveries, rejections prometheus.Counter
}

var breakerStates = []gobreaker.State{gobreaker.StateClosed, gobreaker.StateHalfOpen, gobreaker.StateOpen}

// newBreaker returns a breaker around calls to what is named. Calls that their client gave up do not count.
func newBreaker(name string, to prometheus.Registerer) *breaker {
	counter := func(what, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "circuit_breaker_" + what + "_total", Help: help, ConstLabels: prometheus.Labels{"breaker": name}})
	}
	b := &breaker{
		trips:      counter("trips", "How often the breaker opened."),
		recoveries: counter("recoveries", "How often the breaker closed again."),
		rejections: counter("rejections", "Calls that the breaker did not let through."),
	}
	b.CircuitBreaker = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name, MaxRequests: breakerProbes, Interval: breakerWindow, BucketPeriod: breakerWindow / 10, Timeout: breakerPause,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			done := c.TotalSuccesses + c.TotalFailures
			return done >= breakerLeast && float64(c.TotalFailures) >= breakerShare*float64(done)
		},
		OnStateChange: func(_ string, _, state gobreaker.State) {
			switch state {
			case gobreaker.StateOpen:
				b.trips.Inc()
			case gobreaker.StateClosed:
				b.recoveries.Inc()
			}
		},
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
	})
	to.MustRegister(b.trips, b.recoveries, b.rejections, stateCollector{b, prometheus.NewDesc(
		"circuit_breaker_state", "1 for the state that the breaker is in: closed, half-open or open.", []string{"state"}, prometheus.Labels{"breaker": name},
	)})
	return b
}

// try makes a call if the breaker lets it through; rejected says that it does not.
func (b *breaker) try(call func() error) (rejected bool, err error) {
	_, err = b.Execute(func() (struct{}, error) { return struct{}{}, call() })
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		b.rejections.Inc()
		return true, err
	}
	return false, err
}

// stateCollector exposes the state when it is asked for: an open breaker becomes half-open by time alone.
type stateCollector struct {
	b    *breaker
	desc *prometheus.Desc
}

func (c stateCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

func (c stateCollector) Collect(ch chan<- prometheus.Metric) {
	is := c.b.State()
	for _, s := range breakerStates {
		v := 0.0
		if s == is {
			v = 1
		}
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, v, s.String())
	}
}
