package record

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/perfd/perfd/internal/load"
)

func TestEqualSeriesGoOnCountingAndOthersVanish(t *testing.T) {
	c := newClock()
	r := New(c.options())
	res := answered(20 * time.Millisecond)
	res.Checks = 1
	other := open(t, r, Scenario{Name: "other", Steps: []Series{{Step: "a"}}})
	defer other.Close()

	older := open(t, r, shop())
	older.Record(0, &res)
	created := gathered(t, r, "perfd_requests_total")["scenario=shop,step=login"].Counter.CreatedTimestamp.AsTime()
	c.advance(time.Hour)

	changed := shop()
	changed.Test = "load"
	changed.Labels = map[string]string{"team": "payments"}
	changed.Steps = []Series{
		{Step: "pay", Target: "bank", Protocol: "http"},
		{Step: "login", Target: "shop", Protocol: "graphql", Checks: []string{"signed in"}},
	}
	newer := open(t, r, changed)
	older.Record(0, &res) // still draining
	res.Step = 1
	newer.Record(0, &res)

	check := func(family string, want map[string]float64) {
		t.Helper()
		if diff := cmp.Diff(want, values(t, r, family)); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", family, diff)
		}
	}
	check("perfd_requests_total", map[string]float64{
		"scenario=shop,step=login": 3, "scenario=shop,step=list": 0, "scenario=shop,step=pay": 0, "scenario=other,step=a": 0,
	})
	older.Record(0, &load.Result{Done: 1e6})
	older.Close()
	older.Close()
	check("perfd_requests_total", map[string]float64{
		"scenario=shop,step=login": 4, "scenario=shop,step=pay": 0, "scenario=other,step=a": 0,
	})
	check("perfd_checks_total", map[string]float64{"check=signed in,scenario=shop": 1})
	check("perfd_scenario_info", map[string]float64{
		"executor=constant-arrival-rate,model=open,scenario=shop,team=payments,test=load": 1,
		"executor=,model=,scenario=other,test=":                                           1,
	})
	check("perfd_step_info", map[string]float64{
		"protocol=graphql,scenario=shop,step=login,target=shop": 1,
		"protocol=http,scenario=shop,step=pay,target=bank":      1,
		"protocol=,scenario=other,step=a,target=":               1,
	})
	check("perfd_scenario_target_info", map[string]float64{
		"scenario=shop,target=shop": 1, "scenario=shop,target=bank": 1, "scenario=other,target=": 1,
	})
	if got := gathered(t, r, "perfd_requests_total")["scenario=shop,step=login"].Counter.CreatedTimestamp.AsTime(); !got.Equal(created) {
		t.Errorf("created = %v after the reload, want %v as before", got, created)
	}

	newer.Close()
	check("perfd_requests_total", map[string]float64{"scenario=other,step=a": 0})
	again := open(t, r, shop())
	defer again.Close()
	check("perfd_requests_total", map[string]float64{"scenario=shop,step=login": 0, "scenario=shop,step=list": 0, "scenario=other,step=a": 0})
}

func TestARefusedReloadLeavesNothingBehind(t *testing.T) {
	r := New(newClock().options())
	running := open(t, r, shop())
	defer running.Close()
	before := values(t, r, "perfd_requests_total")
	changed := shop()
	changed.Steps = changed.Steps[:1]
	changed.Steps[0].Step = "renamed"
	built := open(t, r, changed)
	built.Close()
	if diff := cmp.Diff(before, values(t, r, "perfd_requests_total")); diff != "" {
		t.Errorf("perfd_requests_total differs (-want +got):\n%s", diff)
	}
	if got := values(t, r, "perfd_scenario_info"); len(got) != 1 {
		t.Errorf("perfd_scenario_info = %v, want the running scenario's", got)
	}
}

func cumulative(h *dto.Histogram) map[float64]uint64 {
	counts := make(map[float64]uint64)
	for _, b := range h.Bucket {
		counts[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	return counts
}

func TestANewLimitBecomesABoundWithExactRates(t *testing.T) {
	r := New(newClock().options())
	first := open(t, r, shop())
	record := func(s *Sink, times ...time.Duration) {
		for i, d := range times {
			res := answered(d)
			s.Record(i, &res)
		}
	}
	buckets := func() map[float64]uint64 {
		return cumulative(gathered(t, r, "perfd_response_time_seconds")["scenario=shop,step=login"].Histogram)
	}
	record(first, slices.Repeat([]time.Duration{110 * time.Millisecond, 190 * time.Millisecond}, 50)...)
	before := buckets()

	second := open(t, r, shop(150*time.Millisecond, 90*time.Second))
	defer second.Close()
	seeded := buckets()
	for bound, n := range before {
		if seeded[bound] != n {
			t.Errorf("bucket %v = %d after the reload, want %d as before", bound, seeded[bound], n)
		}
	}
	if got := seeded[0.15]; got != 50 {
		t.Errorf("bucket 0.15 is seeded with %d, want 50: half of what lies between 0.1 and 0.2", got)
	}
	if got := seeded[90]; got != 100 {
		t.Errorf("bucket 90 is seeded with %d, want 100", got)
	}
	record(first, 150*time.Millisecond)
	record(second, 150*time.Millisecond, 150*time.Millisecond+1, 80*time.Second, 100*time.Second)
	first.Close()
	grown := buckets()
	for bound, want := range map[float64]uint64{0.1: 0, 0.15: 2, 0.2: 3, 60: 3, 90: 4} {
		if got := grown[bound] - seeded[bound]; got != want {
			t.Errorf("bucket %v grew by %d, want %d", bound, got, want)
		}
	}

	third := open(t, r, shop())
	defer third.Close()
	second.Close()
	if got, want := slices.Sorted(maps.Keys(buckets())), slices.Sorted(maps.Keys(grown)); !slices.Equal(got, want) {
		t.Errorf("bounds = %v, want %v: a bound that no limit needs stays", got, want)
	}
}

func TestLimitsOfAReloadCountFromTheNextWindow(t *testing.T) {
	c, k := newClock(), &kept{}
	o := c.options()
	o.Windows = k.take
	r := New(o)
	res := answered(150 * time.Millisecond)
	older := open(t, r, shop(100*time.Millisecond))
	older.Record(0, &res)
	newer := open(t, r, shop(150*time.Millisecond))
	older.Close()
	newer.Record(0, &res)
	c.advance(10 * time.Second)
	r.Fold(c.Now())
	newer.Record(0, &res)
	c.advance(10 * time.Second)
	r.Fold(c.Now())
	got := make(map[string][]uint64)
	for _, w := range k.windows {
		if w.Step == "login" {
			got[w.Start.Format(time.TimeOnly)+" "+w.Limits[0].String()] = w.Good
		}
	}
	want := map[string][]uint64{"12:00:00 100ms": {0}, "12:00:10 150ms": {1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("good requests by window and limit differ (-want +got):\n%s", diff)
	}
}

func TestLimitsOfALiveSinkCountFromTheNextWindow(t *testing.T) {
	c, k := newClock(), &kept{}
	o := c.options()
	o.Windows = k.take
	r := New(o)
	res := answered(150 * time.Millisecond)
	sink := open(t, r, shop(100*time.Millisecond))
	limits := make([][]time.Duration, len(shop().Steps))
	limits[0] = []time.Duration{170 * time.Millisecond, 100 * time.Millisecond, 170 * time.Millisecond}
	for range 3 {
		sink.Record(0, &res)
		if err := sink.Limit(limits); err != nil {
			t.Fatal(err)
		}
		sink.Record(0, &res)
		c.advance(10 * time.Second)
		r.Fold(c.Now())
	}
	limits[0] = []time.Duration{-1}
	if err := sink.Limit(limits); err == nil {
		t.Error("a limit below zero is taken")
	}
	var got []string
	for _, w := range k.windows {
		if w.Step == "login" {
			got = append(got, fmt.Sprint(w.Requests, w.Limits, w.Good))
		}
	}
	want := []string{"2 [100ms] [0]", "2 [100ms 170ms] [0 2]", "2 [100ms 170ms] [0 2]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests, limits and good ones by window (-want +got):\n%s", diff)
	}
	buckets := gathered(t, r, "perfd_response_time_seconds")["scenario=shop,step=login"].Histogram.Bucket
	if !slices.ContainsFunc(buckets, func(b *dto.Bucket) bool { return b.GetUpperBound() == 0.17 && b.GetCumulativeCount() == 5 }) {
		// The one from before the limit went to the wider part of its bucket.
		t.Errorf("no bucket ends at the new limit with the five requests since: %v", buckets)
	}
}
