package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// Text writes a summary of a run for people.
func Text(w io.Writer, r Run) error {
	var b strings.Builder
	header(&b, r)
	steps(&b, r.Steps)
	checks(&b, r.Checks)
	objectives(&b, r.Kinds, r.Finding.Parts)
	others(&b, r.Kinds, r.Finding.Parts)
	doubts := r.Finding.Doubts
	if !r.Valid {
		doubts = append([]string{"perfd disturbed the measurement: " + strings.Join(r.Invalid, ", ")}, doubts...)
	}
	if len(doubts) > 0 {
		b.WriteString("\nDoubts\n")
	}
	for _, d := range doubts {
		paragraph(&b, "  - ", d)
	}
	b.WriteByte('\n')
	paragraph(&b, strings.ToUpper(r.Finding.Verdict.String())+": ", conclusion(r.Finding))
	if r.Finding.Needed != "" {
		paragraph(&b, "needed: ", r.Finding.Needed)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// conclusion returns the sentence of a run without its beginning, which names the run and
// the verdict: the summary has said which run it is.
func conclusion(f load.Finding) string {
	if _, says, ok := strings.Cut(f.Sentence, ": "+f.Verdict.String()+"; "); ok {
		return says
	}
	return f.Sentence
}

// header writes what ran, when, and its totals.
func header(b *strings.Builder, r Run) {
	what := fmt.Sprintf("%s, %s test on %s", r.Scenario, r.Test, r.Target)
	if r.Release != "" {
		what += ", release " + r.Release
	}
	paragraph(b, "", what)
	paragraph(b, "", fmt.Sprintf("run %s, %s to %s, %s", r.Run, instant(r.Began), instant(r.Ended), amount.Span(r.Ended.Sub(r.Began))))
	if r.Scaled != "" {
		paragraph(b, "", r.Scaled)
	}
	b.WriteByte('\n')
	fmt.Fprintf(b, "  requests    %s, %s failed (%s)\n", amount.Count(float64(r.Requests)), amount.Count(float64(r.Failed)), amount.Share(ratio(r.Failed, r.Requests)))
	dropped := amount.Count(float64(r.Dropped)) + " dropped"
	if len(r.Drops) > 0 {
		dropped += " (" + reasons(r.Drops) + ")"
	}
	paragraph(b, "  iterations  ", amount.Count(float64(r.Iterations))+", "+dropped)
	if len(r.Touched) > 0 {
		paragraph(b, "  disturbed   ", "by perfd itself, left out where that decides: "+reasons(r.Touched))
	}
	rate := amount.Count(r.AchievedRate) + " iterations/s"
	if r.AskedRate > 0 {
		rate += fmt.Sprintf(", of %s asked for (%s)", amount.Count(r.AskedRate), amount.Share(r.AchievedRate/r.AskedRate))
	}
	fmt.Fprintf(b, "  rate        %s\n", rate)
}

// steps writes the table of steps.
func steps(b *strings.Builder, list []Step) {
	if len(list) == 0 {
		return
	}
	t := table{head: []string{"Step", "requests", "failed", "p50", "p90", "p95", "p99"}, numbers: 1}
	for _, s := range list {
		name := s.Name
		unit := "seconds"
		switch {
		case s.Metric != "":
			name += " (" + s.Metric + ")"
			unit = cmp.Or(s.Unit, unit)
		case s.Group:
			name += " (group)"
		}
		r := row{cells: []string{name, amount.Count(float64(s.Requests)), amount.Share(ratio(s.Failed, s.Requests))}}
		for _, p := range []float64{s.P50, s.P90, s.P95, s.P99} {
			r.cells = append(r.cells, amount.Of(float64(number(p, p > 0)), unit))
		}
		if len(s.Failures) > 0 && s.Metric == "" {
			r.below = []note{{"failed", reasons(s.Failures)}}
		}
		if s.Retries > 0 {
			r.below = append(r.below, note{"retried", amount.Count(float64(s.Retries)) + " attempts failed and were followed by another"})
		}
		if s.Messages != nil {
			r.below = append(r.below, note{"messages", messages(s.Messages)})
		}
		t.rows = append(t.rows, r)
	}
	b.WriteByte('\n')
	t.write(b)
}

// messages writes what happened on streams, such as "12 sent, 3,400 received, 2 missing".
func messages(m *load.MessageCounts) string {
	parts := []string{
		amount.Count(float64(m.Count[load.Sent])) + " sent (" + amount.Of(float64(m.Bytes[load.Sent]), "bytes") + ")",
		amount.Count(float64(m.Count[load.Received])) + " received (" + amount.Of(float64(m.Bytes[load.Received]), "bytes") + ")",
	}
	for _, c := range []Count{{"missing", m.Missing}, {"late", m.Reordered}, {"repeated", m.Repeated}, {"not as each wants", m.Unmet}} {
		if c.Count > 0 {
			parts = append(parts, amount.Count(float64(c.Count))+" "+c.Reason)
		}
	}
	return strings.Join(parts, ", ")
}

// checks writes the table of checks.
func checks(b *strings.Builder, list []Check) {
	if len(list) == 0 {
		return
	}
	t := table{head: []string{"Check", "held", "of"}, numbers: 1}
	for _, c := range list {
		t.rows = append(t.rows, row{cells: []string{c.Name, amount.Share(ratio(c.Evaluated-c.Failed, c.Evaluated)), amount.Count(float64(c.Evaluated))}})
	}
	b.WriteByte('\n')
	t.write(b)
}

// reasons writes counts as "refused 140, timeout 8".
func reasons(list []Count) string {
	var parts []string
	for _, c := range list {
		parts = append(parts, strings.ReplaceAll(c.Reason, "_", " ")+" "+amount.Count(float64(c.Count)))
	}
	return strings.Join(parts, ", ")
}

// objectives writes the table of the parts that are objectives.
func objectives(b *strings.Builder, kinds analysis.Kinds, parts []load.Finding) {
	t := table{head: []string{"Objective", "verdict", "value", amount.Share(shownConfidence) + " interval", "limit"}, numbers: 2}
	for _, f := range parts {
		if kinds.Finding(f.Kind).Weight != analysis.Decisive {
			continue
		}
		name := f.Objective
		switch {
		case f.Metric != "":
			name += " (metric " + f.Metric + ")"
		case f.Step != "":
			name += " (" + f.Step + ")"
		}
		t.rows = append(t.rows, row{
			cells: []string{name, verdict(f.Verdict), analysis.Measured(f.Value, f.Unit), interval(f), analysis.Measured(f.Limit, f.Unit)},
			below: grounds(f),
		})
	}
	b.WriteByte('\n')
	if len(t.rows) == 0 {
		b.WriteString("The scenario has no objectives.\n")
		return
	}
	t.write(b)
}

// grounds returns the lines below a finding: its evidence, its doubts and what it needs.
func grounds(f load.Finding) []note {
	var out []note
	if len(f.Evidence) > 0 {
		out = append(out, note{"evidence", analysis.Evidence(f, "; ")})
	}
	for _, d := range f.Doubts {
		out = append(out, note{"doubt", d})
	}
	if f.Needed != "" {
		out = append(out, note{"needed", f.Needed})
	}
	return out
}

// others writes the other parts.
func others(b *strings.Builder, kinds analysis.Kinds, parts []load.Finding) {
	first := true
	for _, f := range parts {
		if kinds.Finding(f.Kind).Weight == analysis.Decisive {
			continue
		}
		if first {
			b.WriteString("\nBesides\n")
			first = false
		}
		paragraph(b, fmt.Sprintf("  %-12s  %-11s  ", verdict(f.Verdict), kinds.Word(f.Kind)), f.Sentence)
	}
}

// verdict writes a verdict, Fail in capitals to be seen without colour.
func verdict(v load.Verdict) string {
	if v == load.Fail {
		return "FAIL"
	}
	return v.String()
}

// instant writes a time in the machine's zone.
func instant(t time.Time) string {
	if t.IsZero() {
		return amount.None
	}
	return t.Local().Format("2006-01-02 15:04:05 MST")
}
