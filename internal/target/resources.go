package target

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

const (
	// mostMembers bounds the values of the label member of one resource.
	mostMembers = 100
	// mostReadings bounds the series of one resource in one read.
	mostReadings = 10_000
	// forgottenAfter is the least time for which a member is exposed after its last reading.
	forgottenAfter = 5 * time.Minute
	longestMember  = 200 // bytes
)

// A reading is the level of one member.
type reading struct {
	member string
	value  float64
}

// A level is the last reading of a member.
type level struct {
	value float64
	seen  time.Time
}

// A resource holds the last readings of one resource. It is not safe for concurrent use.
type resource struct {
	c       *ResourceConfig
	target  string
	members map[string]level
	rest    *level           // the sum of the members beyond mostMembers, nil for none
	counts  map[string]level // of counters, the last readings of those whose rate is the level; nil for none
}

func newResource(target string, c *ResourceConfig) *resource {
	r := &resource{c: c, target: target, members: map[string]level{}}
	if load.ResourceRate(c.Kind) && c.Query.S == "" && strings.HasSuffix(c.Metric.S, "_total") {
		r.counts = map[string]level{}
	}
	return r
}

// named adds the resource's name to an error.
func (r *resource) named(err error) error { return fmt.Errorf("resource %s: %w", r.c.Name, err) }

// matches reports whether a series belongs to the resource.
func (r *resource) matches(s series) bool {
	if s.name != r.c.Metric.S {
		return false
	}
	for name, want := range r.c.Labels {
		if s.label(name) != want {
			return false
		}
	}
	return true
}

// readings collects the series of one resource in one read.
type readings struct {
	r    *resource
	list []reading
	err  error
}

func (g *readings) add(s series) {
	if len(g.list) == mostReadings {
		g.err = fmt.Errorf("more than %d series found", mostReadings)
		return
	}
	var member string
	if label := g.r.c.Member.S; label != "" {
		member = strings.ToValidUTF8(s.label(label), "\uFFFD")
		if len(member) > longestMember {
			g.err = fmt.Errorf("label %s has a value of %d bytes, more than %d", label, len(member), longestMember)
			return
		}
	}
	g.list = append(g.list, reading{member, s.value})
}

// finish returns the readings in order of members, or an error if they are
// ambiguous or there are none.
func (g *readings) finish() ([]reading, error) {
	switch {
	case g.err != nil:
		return nil, g.err
	case len(g.list) == 0:
		return nil, errors.New("no series found")
	}
	list := g.list
	slices.SortStableFunc(list, func(a, b reading) int { return strings.Compare(a.member, b.member) })
	for i := range list[1:] {
		if list[i].member != list[i+1].member {
			continue
		}
		if g.r.c.Member.S == "" {
			return nil, fmt.Errorf("%d series found where one is wanted: %s", len(list), g.hint())
		}
		return nil, fmt.Errorf("several series with %s=%q: %s", g.r.c.Member, excerpt(list[i].member), g.hint())
	}
	return slices.DeleteFunc(list, func(r reading) bool { return math.IsNaN(r.value) || math.IsInf(r.value, 0) }), nil
}

func (g *readings) hint() string {
	choose := "choose one with labels: {NAME: VALUE}"
	if g.r.c.Query.S != "" {
		choose = "let the query give one, as sum does"
	}
	if g.r.c.Member.S != "" {
		return choose + ", or set member to a label that differs between them"
	}
	return choose + ", or tell them apart with member: LABEL"
}

// take stores the readings of an instant and returns them as samples. Members
// beyond mostMembers are exposed as a sum and not sampled: a sum of changing
// members has no trend.
func (r *resource) take(list []reading, at time.Time) []load.Sample {
	r.forget(at)
	if r.counts != nil {
		list = r.rates(list, at)
	}
	var samples []load.Sample
	var rest *level
	for _, now := range list {
		if _, known := r.members[now.member]; known || len(r.members) < mostMembers {
			r.members[now.member] = level{now.value, at}
			samples = append(samples, load.Sample{
				Target: r.target, Resource: r.c.Name.S, Kind: r.c.Kind, Member: now.member,
				Start: at, End: at, Count: 1, Min: now.value, Mean: now.value, Max: now.value, Last: now.value,
			})
			continue
		}
		if rest == nil {
			rest = &level{seen: at}
		}
		rest.value += now.value
	}
	r.rest = rest
	return samples
}

// rates turns readings of counters into their rates since the reading before. A counter that is new, or
// fell because its process began anew, has none yet.
func (r *resource) rates(list []reading, at time.Time) []reading {
	counts := make(map[string]level, len(list))
	out := list[:0]
	for _, now := range list {
		counts[now.member] = level{now.value, at}
		if last, ok := r.counts[now.member]; ok && at.After(last.seen) && now.value >= last.value {
			out = append(out, reading{now.member, (now.value - last.value) / at.Sub(last.seen).Seconds()})
		}
	}
	r.counts = counts
	return out
}

// forget drops members without a reading for a long time.
func (r *resource) forget(now time.Time) {
	gone := func(l level) bool { return now.Sub(l.seen) >= max(forgottenAfter, 3*r.c.Every.D()) }
	maps.DeleteFunc(r.members, func(_ string, l level) bool { return gone(l) })
	if r.rest != nil && gone(*r.rest) {
		r.rest = nil
	}
}

// collect sends the levels of all members.
func (r *resource) collect(now time.Time, send func(d *metric.Desc, v float64, labels ...string)) {
	r.forget(now)
	var d *metric.Desc
	switch load.ResourceUnit(r.c.Kind) {
	case load.UnitBytes:
		d = metric.TargetResourceBytes
	case load.UnitCores:
		d = metric.TargetResourceCores
	case load.UnitBytesPerSecond:
		d = metric.TargetResourceBytesPerSecond
	default:
		d = metric.TargetResourceCount
	}
	for _, member := range slices.Sorted(maps.Keys(r.members)) {
		if r.rest == nil || member != metric.Overflow {
			send(d, r.members[member].value, r.target, r.c.Name.S, member)
		}
	}
	if r.rest != nil { // a member may have the same name
		send(d, r.rest.value+r.members[metric.Overflow].value, r.target, r.c.Name.S, metric.Overflow)
	}
}
