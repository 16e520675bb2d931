package metric

import (
	"fmt"
	"strings"
)

// Markdown returns the page that documents the catalogue.
func Markdown() []byte {
	var b strings.Builder
	b.WriteString("# Metrics\n\n" +
		"Generated from `internal/metric`. Do not edit by hand.\n\n" +
		"Counters and histograms exist at zero from the moment their scenario is configured (those with a `code` from its first answer), and survive a reload.\n" +
		"Every histogram is one family with classic buckets and a native histogram (schema 3); classic buckets can be turned off.\n" +
		"Labels come from configuration only; values beyond a label's cap count under `" + Overflow + "`.\n")
	for _, s := range catalogue {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n", s.title, s.about)
		for _, d := range s.metrics {
			labels := "–"
			if len(d.Labels) > 0 {
				labels = "`" + strings.Join(d.Labels, "`, `") + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.Name, d.Type, labels, d.Help)
		}
	}
	return []byte(b.String())
}
