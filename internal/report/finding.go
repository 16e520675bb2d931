package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/load"
)

// Finding writes one finding with all it rests on.
func Finding(w io.Writer, f load.Finding) error {
	var b strings.Builder
	finding(&b, f)
	_, err := io.WriteString(w, b.String())
	return err
}

func finding(b *strings.Builder, f load.Finding) {
	title := fmt.Sprintf("%s  %s", verdict(f.Verdict), word(f.Kind))
	if p := place(f); p != "" {
		title += "  " + clean(p)
	}
	b.WriteString(title + "\n")
	paragraph(b, "  ", f.Sentence)
	for _, n := range numbers(f) {
		paragraph(b, fmt.Sprintf("  %-10s", n.lead), n.text)
	}
	for _, p := range f.Parts {
		text := p.Sentence
		if p.Needed != "" {
			text += "; needed: " + p.Needed
		}
		paragraph(b, fmt.Sprintf("  - %-12s  %-10s  ", verdict(p.Verdict), word(p.Kind)), text)
	}
}

// numbers are the lines of a finding that have something to say.
func numbers(f load.Finding) []note {
	var out []note
	add := func(lead, text string) {
		if text != "" && text != amount.None {
			out = append(out, note{lead, text})
		}
	}
	add("value", measured(f.Value, f.Unit))
	if i := interval(f); i != amount.None {
		if f.Confidence == shownConfidence {
			i += " at " + amount.Share(f.Confidence)
		}
		add("interval", i)
	}
	add("limit", measured(f.Limit, f.Unit))
	add("run", f.Run)
	add("release", f.Release)
	add("baseline", f.Baseline)
	add("since", instant(f.Since))
	add("ended", instant(f.Ended))
	add("judged", instant(f.Updated))
	out = append(out, grounds(f)...)
	add("state", string(f.State))
	add("id", f.ID)
	return out
}

// place writes what a finding is about, from the large to the small.
func place(f load.Finding) string {
	parts := []string{f.Scenario, f.Step}
	if f.Scenario == "" {
		parts = []string{f.Target}
	}
	if f.Objective != "" {
		parts = append(parts, f.Objective)
	} else {
		parts = append(parts, f.Resource, f.Member, f.Statistic)
	}
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, " / ")
}
