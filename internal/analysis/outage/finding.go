package outage

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// unanswered are the causes of failures without an answer.
var unanswered = [load.NumCauses]bool{
	load.Timeout: true, load.DNS: true, load.Refused: true, load.Unreachable: true, load.Reset: true, load.Closed: true, load.TLS: true,
	load.StreamReset: true, load.GoAway: true,
}

// answered reports whether any of the failures was an answer.
func (c *count) answered() bool {
	for cause, n := range c.causes {
		if n > 0 && !unanswered[cause] {
			return true
		}
	}
	return false
}

// why lists the causes, the most frequent first: "refused 140, timeout 8".
func (c *count) why() string {
	var list []string
	rest := c.causes
	for {
		most := load.None
		for cause, n := range rest {
			if n > rest[most] {
				most = load.Cause(cause)
			}
		}
		if rest[most] == 0 {
			return strings.Join(list, ", ")
		}
		list = append(list, most.String()+" "+amount.Count(float64(rest[most])))
		rest[most] = 0
	}
}

// outage returns the finding on a scenario that fails now.
func (s *scenario) outage(x *streak, at time.Time) load.Finding {
	f := s.about(x.count, x.since, at)
	when := "since " + x.since.UTC().Format("15:04:05 MST")
	switch n := x.count; {
	case n.failed < n.all:
		f.Sentence = fmt.Sprintf("%s: %s of %s requests %s failed: %s", s.Name, number(n.failed), number(n.all), when, n.why())
	case n.answered():
		f.Sentence = fmt.Sprintf("%s: all %s requests %s failed: %s", s.Name, number(n.all), when, n.why())
	default:
		f.Sentence = fmt.Sprintf("%s: none of %s requests %s was answered: %s", s.Name, number(n.all), when, n.why())
	}
	f.ID = analysis.ID(f.Kind, s.Name)
	return f
}

// outageOfRun returns the finding on a run that failed.
func (s *scenario) outageOfRun(r *run, e load.Event, at time.Time) load.Finding {
	f := s.about(r.count, r.since, at)
	switch n := r.count; {
	case n.failed < n.all:
		f.Sentence = fmt.Sprintf("%s of %s requests failed, and no objective says how many may: %s", number(n.failed), number(n.all), n.why())
	case n.answered():
		f.Sentence = fmt.Sprintf("all %s requests failed: %s", number(n.all), n.why())
	default:
		f.Sentence = fmt.Sprintf("none of %s requests was answered: %s", number(n.all), n.why())
	}
	f.ID, f.Run, f.Release = analysis.ID(f.Kind, s.Name, e.Run), e.Run, e.Release
	return f
}

// about returns a finding without ID and sentence.
func (s *scenario) about(n count, since, at time.Time) load.Finding {
	share := load.Number(float64(n.failed) / float64(n.all))
	f := load.Finding{
		Kind: KindFailing, Verdict: load.Fail, Scenario: s.Name, Target: s.Target, Since: since, Updated: at,
		Value: share, Lower: share, Upper: share, Unit: "ratio",
		Evidence: []load.Fact{{Name: "requests", Value: load.Number(n.all)}, {Name: "failed", Value: load.Number(n.failed)}},
	}
	if n.failed == n.all && !n.answered() {
		f.Kind = KindUnreachable
	}
	for cause, k := range n.causes {
		if k > 0 {
			f.Evidence = append(f.Evidence, load.Fact{Name: load.Cause(cause).String(), Value: load.Number(k)})
		}
	}
	return f
}

// check returns the finding on a check that never holds.
func (s *scenario) check(name string, n count, since, at time.Time) load.Finding {
	return load.Finding{
		ID: analysis.ID(KindCheck, s.Name, name), Kind: KindCheck, Verdict: load.Fail, Scenario: s.Name, Target: s.Target, Statistic: "check_ratio",
		Since: since, Updated: at, Unit: "ratio",
		Sentence: fmt.Sprintf("check %s of %s never held in %s evaluations", strconv.Quote(name), s.Name, number(n.all)),
		Evidence: []load.Fact{{Name: "evaluated", Value: load.Number(n.all)}, {Name: "failed", Value: load.Number(n.failed)}},
	}
}

func number(n uint64) string { return amount.Count(float64(n)) }
