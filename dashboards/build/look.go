package build

import (
	"strconv"
	"strings"
)

// plain colours nothing.
var plain = &Thresholds{"absolute", []Threshold{{"text", nil}}}

// steps colours values below a level and from it on; more levels follow as pairs of colour and level.
func steps(below, colour string, at float64, more ...any) *Thresholds {
	t := &Thresholds{"absolute", []Threshold{{below, nil}, {colour, &at}}}
	for i := 0; i+1 < len(more); i += 2 {
		t.Steps = append(t.Steps, Threshold{more[i].(string), new(more[i+1].(float64))})
	}
	return t
}

// words maps the values 0, 1, 2 … to words with colours, given in turn.
func words(pairs ...string) Mapping {
	m := Mapping{"value", map[string]any{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		m.Options[strconv.Itoa(i/2)] = map[string]any{"text": pairs[i], "color": pairs[i+1], "index": i / 2}
	}
	return m
}

var (
	verdicts = words("pass", good, "inconclusive", unknown, "fail", bad)
	leaks    = words("no", good, "not known yet", unknown, "yes", bad)
	trusted  = words("no", bad, "yes", good)
)

// coloured shows the words of a mapping in the colours that they stand for.
func coloured(m Mapping) []Property {
	return []Property{{"mappings", []Mapping{m}}, {"custom.cellOptions", map[string]any{"type": "color-text"}}}
}

// judged colours a column's text by thresholds.
func judged(t *Thresholds) []Property {
	return []Property{{"thresholds", t}, {"custom.cellOptions", map[string]any{"type": "color-text"}}}
}

// leads makes a column's cells lead to a place.
func leads(to ...Link) []Property { return []Property{{"links", to}} }

// open leads to another dashboard of perfd. Pairs are variables and their values,
// which may be fields of the row or labels of the series.
func open(title, uid string, pairs ...string) Link {
	var to strings.Builder
	to.WriteString("/d/" + uid + "?${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${__url_time_range}")
	for i := 0; i+1 < len(pairs); i += 2 {
		// Names of steps have spaces and slashes in them.
		to.WriteString("&var-" + pairs[i] + "=" + strings.Replace(pairs[i+1], "}", ":percentencode}", 1))
	}
	return Link{Title: title, URL: to.String()}
}

// traces leads to the spans that a TraceQL condition selects, in the time that the dashboard shows.
func traces(title, condition string) Link {
	pane := `{"t":{"datasource":"${tracing}","queries":[{"refId":"A","queryType":"traceql","query":"{` +
		strings.ReplaceAll(condition, `"`, `\"`) + `}"}],"range":{"from":"${__from}","to":"${__to}"}}}`
	// Only what an address cannot hold is escaped: Grafana must still see its variables.
	escaped := strings.NewReplacer(`"`, "%22", " ", "%20", `\`, "%5C", "=", "%3D", "&", "%26").Replace(pane)
	return Link{Title: title, URL: "/explore?schemaVersion=1&panes=" + escaped, TargetBlank: true}
}

func join(list []string) string { return strings.Join(list, "|") }
