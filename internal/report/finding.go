package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// Finding writes one finding with its numbers, evidence and parts.
func Finding(w io.Writer, kinds analysis.Kinds, f load.Finding) error {
	var b strings.Builder
	finding(&b, kinds, f)
	_, err := io.WriteString(w, b.String())
	return err
}

func finding(b *strings.Builder, kinds analysis.Kinds, f load.Finding) {
	title := fmt.Sprintf("%s  %s", verdict(f.Verdict), kinds.Word(f.Kind))
	if p := analysis.Place(f); p != "" {
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
		paragraph(b, fmt.Sprintf("  - %-12s  %-10s  ", verdict(p.Verdict), kinds.Word(p.Kind)), text)
	}
}

// numbers returns the lines of a finding that are not empty.
func numbers(f load.Finding) []note {
	var out []note
	add := func(lead, text string) {
		if text != "" && text != amount.None {
			out = append(out, note{lead, text})
		}
	}
	add("value", analysis.Measured(f.Value, f.Unit))
	if i := interval(f); i != amount.None {
		if f.Confidence == shownConfidence {
			i += " at " + amount.Share(f.Confidence)
		}
		add("interval", i)
	}
	add("limit", analysis.Measured(f.Limit, f.Unit))
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
